"""All routers of the server. Who adds a request adds it to the list of ``tests/label_app/test_served.py`` too."""

from __future__ import annotations

from lib.routes import about, drawing, images, predictions, work

ROUTERS = (about.router, images.router, drawing.router, predictions.router, work.router)
