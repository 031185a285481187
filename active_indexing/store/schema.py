"""Tables of the database."""

from __future__ import annotations

VERSION = 1
FILE_NAME = "store.sqlite"

ENDINGS = ("", "-journal", "-wal", "-shm")
"""Of the files that SQLite keeps a database in."""

MANIFESTS = """
CREATE TABLE IF NOT EXISTS manifests (
    seq INTEGER PRIMARY KEY REFERENCES images (seq),
    manifest TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    content BLOB NOT NULL
)
"""
"""C2PA manifest stores of released files that were signed. It came after version 1 and changes nothing of it:
a store that has none gets it when it is opened for writing, and is read without it."""

SCHEMA = (
    """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE runs (run INTEGER PRIMARY KEY, started_at TEXT NOT NULL, settings TEXT NOT NULL);
CREATE TABLE images (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id INTEGER NOT NULL UNIQUE,
    source TEXT NOT NULL,
    source_sha256 TEXT NOT NULL UNIQUE CHECK (length(source_sha256) = 64),
    released TEXT NOT NULL,
    name_key TEXT UNIQUE,
    released_sha256 TEXT NOT NULL CHECK (length(released_sha256) = 64),
    size INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    psnr REAL, ssim REAL, linf REAL, quality TEXT NOT NULL,
    cell INTEGER NOT NULL,
    run INTEGER NOT NULL REFERENCES runs (run),
    released_at TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('released', 'removed')),
    removed_at TEXT
);
CREATE INDEX images_released_sha256 ON images (released_sha256);
CREATE TABLE codes (seq INTEGER PRIMARY KEY REFERENCES images (seq), codes BLOB NOT NULL);
CREATE TABLE descriptors (seq INTEGER PRIMARY KEY REFERENCES images (seq), float16 BLOB NOT NULL);
CREATE TABLE failures (run INTEGER NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE checks (seq INTEGER PRIMARY KEY, checked_at REAL NOT NULL, damage TEXT NOT NULL);
"""
    + MANIFESTS
    + ";"
)
