"""Where it is kept: typed tables over an ordered key-value engine. The only importer of zlmdb."""
