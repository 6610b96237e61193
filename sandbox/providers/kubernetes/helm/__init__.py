"""Helm releases as one recorded object each: nothing is rendered, but the values are checked against the chart's own."""
