"""The FUSE door: shows an overlay tree as a mount. Names in, errnos out, no policy."""
