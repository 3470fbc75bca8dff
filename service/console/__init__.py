"""The page for people at `GET /`: its files, which are served as they are, and their routes.

Everything on the page comes from the public API, so that a script can get it too.
"""
