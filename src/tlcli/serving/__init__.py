"""The HTTP server of ``tlcli serve``: protocols, a queue with deadlines, decoders in processes of their own, a page."""
