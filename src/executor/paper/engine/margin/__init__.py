"""Margin accounts of the paper exchange: loans, interest, levels, transfers and liquidation on the matching engine."""
