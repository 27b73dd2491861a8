"""Replies as bytes: those that can be read in one way alone, and those that are refused."""

OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"content-length: 2\r\n\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"

GOOD: dict[str, tuple[bytes, bytes]] = {
    "counted": (OK + TWO + b"ok", b"ok"),
    "nothing counted": (OK + b"content-length: 0\r\n\r\n", b""),
    "a count with blanks": (OK + b"content-length: \t 2 \r\n\r\nok", b"ok"),
    "no reason": (b"HTTP/1.1 200\r\n" + TWO + b"ok", b"ok"),
    "an empty reason": (b"HTTP/1.1 200 \r\n" + TWO + b"ok", b"ok"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + TWO + b"ok", b"ok"),
    "HTTP/1.0 that stays": (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n" + TWO + b"ok", b"ok"),
    "no connection afterwards": (OK + b"connection: close\r\n" + TWO + b"ok", b"ok"),
    "chunked": (CHUNKED + b"2\r\nok\r\n" + END, b"ok"),
    "chunks": (CHUNKED + b"1\r\no\r\n1\r\nk\r\n" + END, b"ok"),
    "no chunk": (CHUNKED + END, b""),
    "a size in capitals": (CHUNKED + b"A\r\n0123456789\r\n" + END, b"0123456789"),
    "a size with zeros": (CHUNKED + b"0002\r\nok\r\n" + END, b"ok"),
    "a size with blanks after it": (CHUNKED + b"2  \r\nok\r\n" + END, b"ok"),
    "a chunk with an extension": (CHUNKED + b'2;a=b;c="d"\r\nok\r\n' + END, b"ok"),
    "the coding in capitals": (OK + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n" + END, b"ok"),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n", b"ok"),
    "a header without a value": (OK + b"x-empty:\r\n" + TWO + b"ok", b"ok"),
    "a header in UTF-8": (OK + "x-name: Zoë\r\n".encode() + TWO + b"ok", b"ok"),
    "a header in no coding": (OK + b"x-name: Zo\xeb\r\n" + TWO + b"ok", b"ok"),
    "a header that comes twice": (OK + b"x-a: 1\r\nx-b: 2\r\nX-A: 3\r\n" + TWO + b"ok", b"ok"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "204 with a length of 0": (b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", b""),
    "304 with the length of what it stands for": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", b""),
    "an error": (b"HTTP/1.1 429 Slow Down\r\nretry-after: 1\r\n" + TWO + b"no", b"no"),
    "a status that nobody knows": (b"HTTP/1.1 799 Whatever\r\n" + TWO + b"no", b"no"),
    "100 before it": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + TWO + b"ok", b"ok"),
    "103 with a header before it": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK + TWO + b"ok", b"ok"),
    "many before it": (b"HTTP/1.1 102 Processing\r\n\r\n" * 50 + OK + TWO + b"ok", b"ok"),
    "an upgrade that is offered": (OK + b"connection: upgrade\r\nupgrade: h2c\r\n" + TWO + b"ok", b"ok"),
}
"""Name → the reply, and its body."""

UNTIL_CLOSE: dict[str, tuple[bytes, bytes]] = {
    "until the end": (OK + b"\r\nok", b"ok"),
    "until the end, which comes at once": (OK + b"\r\n", b""),
    "until the end, by HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok"),
}
"""The same for those that end with their connection."""

CUT: dict[str, bytes] = {
    "nothing": b"",
    "a half of the status line": b"HTTP/1.1 20",
    "a half of the head": OK + b"content-le",
    "a head without its end": OK + b"content-length: 2\r\n",
    "a half of what is counted": OK + TWO + b"o",
    "a half of a size": CHUNKED + b"1",
    "a size alone": CHUNKED + b"2\r\n",
    "a half of a chunk": CHUNKED + b"2\r\no",
    "a chunk without its end": CHUNKED + b"2\r\nok",
    "chunks without a last one": CHUNKED + b"2\r\nok\r\n",
    "a half of the last one": CHUNKED + b"2\r\nok\r\n0\r\n",
    "a half of a trailer": CHUNKED + b"2\r\nok\r\n0\r\nx-s",
    "100 alone": b"HTTP/1.1 100 Continue\r\n\r\n",
}
"""Replies whose connection ends before they do."""

MALFORMED: dict[str, bytes] = {
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "another protocol that looks like it": b"ICY 200 OK\r\n" + TWO + b"ok",
    "the parser's other protocol": b"RTSP/1.0 200 OK\r\n" + TWO + b"ok",
    "small letters": b"http/1.1 200 OK\r\n" + TWO + b"ok",
    "a blank line before it": b"\r\n" + OK + TWO + b"ok",
    "a status of words": b"HTTP/1.1 fine thanks\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n" + TWO + b"ok",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n" + TWO + b"ok",
    "a status of zero": b"HTTP/1.1 000 OK\r\n" + TWO + b"ok",
    "two blanks before the status": b"HTTP/1.1  200 OK\r\n" + TWO + b"ok",
    "a version without its second half": b"HTTP/1 200 OK\r\n" + TWO + b"ok",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n" + TWO + b"ok",
    "NUL in a name": OK + b"x\0y: z\r\n" + TWO + b"ok",
    "NUL in a value": OK + b"x: y\0z\r\n" + TWO + b"ok",
    "a CR alone in a value": OK + b"x: y\rz: 1\r\n" + TWO + b"ok",
    "a blank before the colon": OK + b"content-length : 2\r\n\r\nok",
    "a line without a colon": OK + b"whatever\r\n" + TWO + b"ok",
    "a line without a name": OK + b": whatever\r\n" + TWO + b"ok",
    "a name that is no token": OK + b"x(y): z\r\n" + TWO + b"ok",
    "a first line that continues one": OK + b" x: y\r\n" + TWO + b"ok",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nokk",
    "a length with a sign": OK + b"content-length: +2\r\n\r\nok",
    "a negative length": OK + b"content-length: -1\r\n\r\n",
    "a length to another base": OK + b"content-length: 0x2\r\n\r\nok",
    "an empty length": OK + b"content-length:\r\n\r\nok",
    "a length that overflows": OK + b"content-length: " + b"9" * 30 + b"\r\n\r\nok",
    "an unknown coding": OK + b"transfer-encoding: cookies\r\n\r\nok",
    "two codings": OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n" + END,
    "one coding twice": OK + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n2\r\nok\r\n" + END,
    "a coding that begins alike": OK + b"transfer-encoding: xchunked\r\n\r\n2\r\nok\r\n" + END,
    "a size that is none": CHUNKED + b"zz\r\n",
    "a negative size": CHUNKED + b"-5\r\nhello\r\n",
    "a size to another base": CHUNKED + b"0x2\r\nok\r\n" + END,
    "a blank before the size": CHUNKED + b" 2\r\nok\r\n" + END,
    "an empty size": CHUNKED + b"\r\nok\r\n" + END,
    "a size that ends in LF alone": CHUNKED + b"2\nok\r\n" + END,
    "a size of less than comes": CHUNKED + b"2\r\nokay\r\n" + END,
    "a size of more than comes": CHUNKED + b"5\r\nok\r\n" + END,
    "a chunk that ends in LF alone": CHUNKED + b"2\r\nok\n" + END,
    "a trailer that is none": CHUNKED + b"2\r\nok\r\n0\r\nx y\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + OK + TWO + b"ok",
    "a switch of protocols without a word": b"HTTP/1.1 101 Switching\r\n\r\n" + OK + TWO + b"ok",
    "a head of 200 KB": OK + b"x: " + b"y" * 200_000 + b"\r\n" + TWO + b"ok",
    "600 fields": OK + b"x: y\r\n" * 600 + TWO + b"ok",
}
"""Replies that are no HTTP, or of which two readers could think differently: refused by both clients."""

DOUBTFUL: dict[str, bytes] = {
    "lines that end in LF alone": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "a header that ends in LF alone": OK + b"x: y\n" + TWO + b"ok",
    "a head that ends in LF alone": OK + b"content-length: 2\r\n\nok",
    "a folded line": OK + b"x: y\r\n z\r\n" + TWO + b"ok",
    "a control character in a value": OK + b"x: y\x01z\r\n" + TWO + b"ok",
    "one length twice": OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "one length as a list": OK + b"content-length: 2, 2\r\n\r\nok",
    "a length and a coding": OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n" + END,
    "a coding and a length": OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n" + END,
    "chunks by HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n" + END,
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + TWO + b"ok",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n" + TWO + b"ok",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + TWO + b"ok",
    "100 with a length": b"HTTP/1.1 100 Continue\r\ncontent-length: 2\r\n\r\n" + OK + TWO + b"ok",
    "102 with a coding": b"HTTP/1.1 102 Processing\r\ntransfer-encoding: chunked\r\n\r\n" + OK + TWO + b"ok",
    "a size that overflows": CHUNKED + b"f" * 17 + b"\r\nok",
    "NUL in an extension": CHUNKED + b"2;a\0b\r\nok\r\n" + END,
    "a length in the trailer": CHUNKED + b"2\r\nok\r\n0\r\ncontent-length: 5\r\n\r\n",
    "provisional replies without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 6000,
    "trailers without end": CHUNKED + b"2\r\nok\r\n0\r\n" + b"x: yy\r\n" * 40_000,
    "an extension without end": CHUNKED + b"2;" + b"x" * 200_000,
}
"""The same, which httpx2 reads in one of the ways that there are: refused over our own connections."""

MORE: dict[str, bytes] = {
    "another reply": OK + TWO + b"ok" + OK + TWO + b"no",
    "anything": OK + TWO + b"okwhatever",
    "a reply after 204": b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
    "a reply after chunks": CHUNKED + b"2\r\nok\r\n" + END + OK + TWO + b"no",
    "anything after a close": OK + b"connection: close\r\n" + TWO + b"okmore",
}
"""Good replies after which more comes than belongs to them."""
