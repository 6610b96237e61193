"""The rehearsal's AWS account: moto behind one address on loopback, and what moto lacks."""
