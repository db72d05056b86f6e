"""Proxy Managers, as the Manager defines, admits and shows them."""
