"""What Helm charts bring into a cluster that the program needs there: their CustomResourceDefinitions and their workloads.

The charts themselves cannot be had without internet. Their definitions can: the projects publish them in Go modules. Tables here
say what is known of their workloads.
"""
