"""`/sapi`: cross and isolated margin on the wire."""
