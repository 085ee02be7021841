"""Lamella: thick-slice CT to thin-slice CT."""

__version__ = "0.1.0"
