"""The addresses that a key and a prompt may be sent to. The error for any other does not repeat it."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.core.errors import SidecarError
from sidecar.core.url_policy import check_base_url, get_host, has_same_origin, parse_host_variable

WHERE = "params.base_url"


def refused(url: str, *, private_network: bool = False) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        check_base_url(url, WHERE, private_network=private_network)
    return caught.value


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://api.openai.com:8443/v1",
        "HTTPS://API.EXAMPLE.COM",
        "https://xn--e1afmkfd.example",
        "https://host-1.internal.example/deep/path/v1beta",
        "https://a_b.example/%2F",
        "https://93.184.216.34/v1",
        "https://10.0.0.7/v1",
        "https://[2606:2800:220:1:248:1893:25c8:1946]/v1",
        "http://localhost:11434",
        "http://models.localhost:1234/v1",
        "http://127.0.0.1:8080/v1",
        "http://127.9.9.9",
        "http://[::1]:8080",
        "http://[::ffff:127.0.0.1]:8080",
    ],
)
def test_an_allowed_address_is_returned(url: str) -> None:
    assert check_base_url(url, WHERE, private_network=False) == url


@pytest.mark.parametrize(
    ("url", "kept"), [("https://h.example/", "https://h.example"), ("https://h.example/v1//", "https://h.example/v1")]
)
def test_a_trailing_slash_is_removed(url: str, kept: str) -> None:
    assert check_base_url(url, WHERE, private_network=False) == kept


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="empty"),
        pytest.param("api.openai.com", id="no scheme"),
        pytest.param("//h.example", id="no scheme, only slashes"),
        pytest.param("/v1", id="a path"),
        pytest.param("https://", id="no host"),
        pytest.param("https:///v1", id="no host but a path"),
        pytest.param("https:h.example", id="no slashes"),
        pytest.param("https://:443", id="only a port"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("ftp://h.example", id="ftp"),
        pytest.param("gopher://127.0.0.1:70/x", id="gopher"),
        pytest.param("data:text/plain,x", id="data"),
        pytest.param("javascript:alert(1)", id="javascript"),
        pytest.param("unix:///run/docker.sock", id="unix"),
        pytest.param("https://user:pass@h.example", id="user and password"),
        pytest.param("https://user@h.example", id="user"),
        pytest.param("https://@h.example", id="empty user"),
        pytest.param("https://api.openai.com@evil.example", id="the provider as user"),
        pytest.param("https://api.openai.com:443@evil.example", id="the provider as user and password"),
        pytest.param("https://evil.example\\@api.openai.com", id="backslash"),
        pytest.param("https://evil.example?x=api.openai.com", id="query"),
        pytest.param("https://evil.example/?", id="empty query"),
        pytest.param("https://evil.example#api.openai.com", id="fragment"),
        pytest.param("https://evil.example/#", id="empty fragment"),
        pytest.param("https://h.example:99999", id="port out of range"),
        pytest.param("https://h.example:http", id="port in words"),
        pytest.param("https://h.example:-1", id="negative port"),
        pytest.param("https://h.example\n.evil.example", id="line feed"),
        pytest.param("https://h.example\r\nx-evil: 1", id="CRLF"),
        pytest.param("https://h.example\t", id="tab"),
        pytest.param(" https://h.example", id="space before"),
        pytest.param("https://h.example/a b", id="space within"),
        pytest.param("https://h.example\x00", id="NUL"),
        pytest.param("https://h.example\x7f", id="DEL"),
        pytest.param("https://\u0430pi.openai.com", id="a look-alike letter"),
        pytest.param("https://api\u3002openai.com", id="a look-alike dot"),
        pytest.param("https://\uff11\uff12\uff17.0.0.1", id="full-width digits"),
        pytest.param("https://h.example/\u2215v1", id="a look-alike slash"),
        pytest.param("https://[::1", id="open bracket"),
        pytest.param("https://::1", id="no brackets"),
        pytest.param("https://[h.example]", id="a name in brackets"),
        pytest.param("https://h.example/" + "x" * 65536, id="64 kB"),
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    body = refused(url, private_network=True).body
    assert (body.code, body.param) == ("invalid_request", WHERE)
    assert "example" not in body.message
    assert "openai" not in body.message


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("private_network", [False, True])
@pytest.mark.parametrize(
    "host",
    [
        pytest.param("169.254.169.254", id="metadata"),
        pytest.param("169.254.0.1", id="link-local"),
        pytest.param("169.254.169.254.", id="with a dot at the end"),
        pytest.param("2852039166", id="decimal"),
        pytest.param("0xa9fea9fe", id="hexadecimal"),
        pytest.param("0XA9FEA9FE", id="hexadecimal in capitals"),
        pytest.param("0251.0376.0251.0376", id="octal"),
        pytest.param("169.254.43518", id="three parts"),
        pytest.param("169.16689662", id="two parts"),
        pytest.param("0xa9.0xfe.0xa9.0xfe", id="hexadecimal parts"),
        pytest.param("169.254.169.0xfe", id="mixed parts"),
        pytest.param("017700000001", id="octal loopback"),
        pytest.param("127.1", id="short loopback"),
        pytest.param("[::ffff:169.254.169.254]", id="mapped to IPv6"),
        pytest.param("[::ffff:a9fe:a9fe]", id="mapped to IPv6 in hexadecimal"),
        pytest.param("[::a9fe:a9fe]", id="compatible with IPv4"),
        pytest.param("[64:ff9b::a9fe:a9fe]", id="translated to IPv6"),
        pytest.param("[2002:a9fe:a9fe::1]", id="6to4"),
        pytest.param("[fe80::1]", id="link-local IPv6"),
        pytest.param("[fe80::1%25eth0]", id="link-local with a zone"),
        pytest.param("0.0.0.0", id="unspecified"),  # noqa: S104 - to be refused
        pytest.param("[::]", id="unspecified IPv6"),
        pytest.param("224.0.0.1", id="multicast"),
        pytest.param("[ff02::1]", id="multicast IPv6"),
        pytest.param("255.255.255.255", id="broadcast"),
    ],
)
def test_addresses_at_which_nobody_serves_models_are_refused(host: str, scheme: str, private_network: bool) -> None:
    assert refused(f"{scheme}://{host}/v1", private_network=private_network).body.code == "invalid_request"


@pytest.mark.parametrize(
    "host",
    [
        "api.openai.com.evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "93.184.216.34",
        "[2606:2800:220:1:248:1893:25c8:1946]",
    ],
)
@pytest.mark.parametrize("private_network", [False, True])
def test_plain_http_is_refused_outside_the_users_network(host: str, private_network: bool) -> None:
    assert "https" in refused(f"http://{host}/v1", private_network=private_network).body.message


@pytest.mark.parametrize("host", ["10.0.0.7", "172.16.0.1", "192.168.1.20:8000", "[fd00::7]", "[::ffff:192.168.1.20]"])
def test_plain_http_to_a_private_address_needs_a_server_of_the_users_own(host: str) -> None:
    url = f"http://{host}/v1"
    assert check_base_url(url, WHERE, private_network=True) == url
    refused(url)


@pytest.mark.long
@settings(max_examples=300)
@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "http",
                "https",
                ":",
                "/",
                "//",
                "@",
                "?",
                "#",
                "[",
                "]",
                "%",
                ".",
                "127.0.0.1",
                "169.254.169.254",
                "::1",
                "fe80::1",
                "0x7f",
                "h",
                "\\",
                "\n",
            ]
        ),
        max_size=12,
    ).map("".join),
    st.booleans(),
)
@example("https://[::ffff:169.254.169.254]", False)
def test_no_text_raises_another_error_or_is_repeated(url: str, private_network: bool) -> None:
    try:
        kept = check_base_url(url, WHERE, private_network=private_network)
    except SidecarError as error:
        refusal = error.body
    else:
        check_kept(url, kept)
        return
    assert refusal.code == "invalid_request"
    assert len(url) < 9 or url not in refusal.message


def check_kept(url: str, kept: str) -> None:
    assert kept == url.rstrip("/")
    assert kept.isascii()
    assert kept.lower().startswith(("https://", "http://"))
    assert "169.254" not in kept.partition("//")[2].partition("/")[0]
    assert "@" not in kept.partition("//")[2].partition("/")[0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://h.example", "https://h.example/v1/deep", True),
        ("https://h.example", "https://h.example:443", True),
        ("HTTPS://H.EXAMPLE", "https://h.example", True),
        ("http://localhost", "http://localhost:80/", True),
        ("https://h.example", "https://h.example:8443", False),
        ("https://h.example", "http://h.example", False),
        ("https://h.example", "https://h.example.evil.example", False),
        ("https://h.example", "https://api.h.example", False),
        ("https://h.example", "https://h.example.", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert has_same_origin(one, other) is same
    assert has_same_origin(other, one) is same


def test_the_host_of_an_address() -> None:
    assert get_host("https://H.example:8443/v1") == "h.example"
    assert get_host("http://[::1]:1/") == "::1"


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104 - what a server is told
        ("0.0.0.0:1234", "http://127.0.0.1:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("[::]:1234", "http://127.0.0.1:1234"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:1234", "http://[::1]:1234"),
        ("::1", "http://[::1]:11434"),
        ("box.local", "http://box.local:11434"),
        (' "box.local:1234" ', "http://box.local:1234"),
        ("box.local/base/", "http://box.local:11434/base"),
        ("http://box.local", "http://box.local:80"),
        ("https://box.local", "https://box.local:443"),
        ("https://box.local:1234/base", "https://box.local:1234/base"),
        ("box.local:0", "http://box.local:11434"),
        ("box.local:99999", "http://box.local:11434"),
        ("box.local:\u00b2", "http://box.local:11434"),
        ("box.local:" + "9" * 5000, "http://box.local:11434"),
        ("hosted.example", "https://hosted.example:443"),
        ("http://hosted.example", "http://hosted.example:80"),
    ],
)
def test_the_variable_of_a_local_server(value: str, address: str) -> None:
    assert parse_host_variable(value, 11434, "https://hosted.example") == address


@pytest.mark.long
@settings(max_examples=100)
@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["[", "]", ":", "/", "//", "1", "::", "h", "https", "\u00b2"]), max_size=8).map("".join)
)
def test_no_variable_raises(value: str) -> None:
    assert parse_host_variable(value, 11434, None).partition("://")[1]
