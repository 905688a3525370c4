"""Other people's systems, asked the same questions in the same run by the same load generator."""
