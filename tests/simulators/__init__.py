"""What the servers and exporters of a stack say at /metrics, under scripted load.

A page moves with a time that is given to it, so that the same one is read by a running Prometheus and written down as the series
of hours in no time.
"""
