"""The Admin API `/api/admin/v3.0`, as far as the official command-line tools of MongoDB Stitch and Realm call it."""
