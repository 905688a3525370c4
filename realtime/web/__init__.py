"""What is not a transport: health, metrics, pages, network conditions."""
