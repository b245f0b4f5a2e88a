"""Counters, gauges and histograms of the server, in the text formats that Prometheus reads."""
