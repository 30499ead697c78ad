"""HRPN on a processor: strips, fused convolutions and reused memory."""
