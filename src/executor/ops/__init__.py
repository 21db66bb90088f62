"""What operators see: logs, reports, checks, health, metrics, alerts. Reads the trade's state; decides nothing."""
