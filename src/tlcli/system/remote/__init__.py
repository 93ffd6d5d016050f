"""Files on object stores and web servers, through fsspec."""
