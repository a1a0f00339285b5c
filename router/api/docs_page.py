"""`/docs`: the OpenAPI document to read and to try, from files of this machine alone."""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_FILES = "/docs/files"


def add_docs_page(app: FastAPI) -> None:
    """The package's files are Swagger UI's own, as released."""
    app.mount(_FILES, StaticFiles(directory=str(files("fastapi_offline") / "static")))
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=f".{_FILES}/swagger-ui-bundle.js",
        swagger_css_url=f".{_FILES}/swagger-ui.css",
        swagger_favicon_url=f".{_FILES}/favicon.png",
    )

    async def docs() -> HTMLResponse:
        return page

    app.get("/docs", include_in_schema=False)(docs)
