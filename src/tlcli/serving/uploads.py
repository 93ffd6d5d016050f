"""The images of a request for people: its body, or the files of a form."""

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from tlcli.serving.limits import RefusalError

_LONGEST_NAME = 255
"""Characters of a file's name; it is repeated in the answer and used for nothing else."""
_MOST_PARTS = 1000
"""Of a form, files or not: each costs microseconds, in which no other client is answered."""


def images_of(content_type: str, body: bytes, most: int) -> list[tuple[str, bytes]]:
    """Returns the images with their names.

    Args:
        content_type: ``multipart/form-data`` has the files of a form; with any other the body is one image.
        body: of the request.
        most: images that a request may have.

    Raises:
        RefusalError: the form is malformed, or has no file or too many.
    """
    kind, options = parse_options_header(content_type.encode("latin-1"))
    if kind != b"multipart/form-data":
        return [("image 1", body)]
    if not options.get(b"boundary"):
        raise RefusalError("serve.invalid_form", 400)
    form = _Form(most)
    try:
        parser = MultipartParser(options[b"boundary"], form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RefusalError("serve.invalid_form", 400) from error
    if not form.is_whole or not form.images:
        raise RefusalError("serve.no_image" if form.is_whole else "serve.invalid_form", 400)
    return form.images


class _Form:
    """Collects the parts of a form that have a file's name."""

    def __init__(self, most: int) -> None:
        self.images: list[tuple[str, bytes]] = []
        self.is_whole = False
        self._most = most
        self._parts = 0
        self._begin()

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin, "on_part_end": self._end_part, "on_end": self._end,
            "on_header_field": self._field, "on_header_value": self._value, "on_header_end": self._end_header,
            "on_part_data": self._data,
        }  # fmt: skip

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise RefusalError("serve.invalid_form", 400)
        self._content, self._name = bytearray(), bytearray()
        self._header = bytearray()
        self._file: str | None = None

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _end_header(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._header))
            if b"filename" in options:
                self._file = options[b"filename"].decode(errors="replace")[:_LONGEST_NAME]
        self._name, self._header = bytearray(), bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._content += data[start:end]

    def _end_part(self) -> None:
        if self._file is None:
            return
        if len(self.images) == self._most:
            raise RefusalError("serve.too_many_images", 413)
        self.images.append((self._file or f"image {len(self.images) + 1}", bytes(self._content)))

    def _end(self) -> None:
        self.is_whole = True
