"""Reads QR codes with libzbar."""

import ctypes


def read(width: int, height: int, grey: bytes) -> list[str]:
    """The texts of the codes in an image of one byte a pixel."""
    lib = ctypes.CDLL("libzbar.so.0")
    for name in ("zbar_image_scanner_create", "zbar_image_create", "zbar_image_first_symbol", "zbar_symbol_next"):
        getattr(lib, name).restype = ctypes.c_void_p
    lib.zbar_symbol_get_data.restype = ctypes.c_char_p

    scanner = ctypes.c_void_p(lib.zbar_image_scanner_create())
    image = ctypes.c_void_p(lib.zbar_image_create())
    pixels = ctypes.create_string_buffer(grey, len(grey))
    lib.zbar_image_set_format(image, ctypes.c_ulong(int.from_bytes(b"Y800", "little")))
    lib.zbar_image_set_size(image, ctypes.c_uint(width), ctypes.c_uint(height))
    lib.zbar_image_set_data(image, pixels, ctypes.c_ulong(len(grey)), None)
    lib.zbar_scan_image(scanner, image)
    texts = []
    symbol = lib.zbar_image_first_symbol(image)
    while symbol:
        texts.append(lib.zbar_symbol_get_data(ctypes.c_void_p(symbol)).decode())
        symbol = lib.zbar_symbol_next(ctypes.c_void_p(symbol))
    lib.zbar_image_destroy(image)
    lib.zbar_image_scanner_destroy(scanner)
    return texts
