"""Addresses that lead, or mean to lead, to where no webhook may go, made by hand and by combination."""

from ipaddress import IPv4Address, IPv6Address
from typing import Final

INNER_4: Final = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.1.2.3",
    "127.255.255.254", "169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.254", "192.0.0.1",
    "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.254", "198.18.0.1", "198.19.255.254",
    "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
]  # fmt: skip
INNER_6: Final = [
    "::", "::1", "::2", "100::1", "64:ff9b:1::1", "fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1", "febf::1",
    "fec0::1", "ff02::1", "ff0e::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::",
    "2002:0808:0808::1", "3fff::1", "5f00::1", "4000::1", "8000::1", "::ffff:0:7f00:1",
]  # fmt: skip


def _wrapped(address: str) -> list[str]:
    """An inner IPv4 address in each of the IPv6 forms that some stacks take apart again."""
    number = int(IPv4Address(address))
    high, low = number >> 16, number & 0xFFFF
    return [
        f"::ffff:{address}",
        f"::ffff:{high:x}:{low:x}",
        f"::{high:x}:{low:x}",
        f"64:ff9b::{high:x}:{low:x}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}::1",
    ]


def _spelt(address: str) -> list[str]:
    """Spellings that `inet_aton` understands, and browsers too."""
    a, b, c, d = (int(part) for part in address.split("."))
    number = int(IPv4Address(address))
    return [
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{b}.{c * 256 + d}",
        f"{a}.{b * 65536 + c * 256 + d}",
        f"{a:03d}.{b:03d}.{c:03d}.{d:03d}",
        f"{address}.",
        address.replace(".", "。"),
        "".join(chr(ord(digit) + 0xFEE0) if digit.isdigit() else digit for digit in address),
    ]


_INNER_IN_IPV6: Final = [
    str(IPv6Address(form))
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "0.0.0.0")
    for form in _wrapped(address)
]
_BY_HAND: Final = [
    "http://example.com/", "HTTP://EXAMPLE.COM/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
    "ws://example.com/", "javascript:alert(1)", "data:text/plain,x", "//example.com/", "example.com", "https:",
    "https:/", "https://", "https:///path", "https://:443/", "https://?x", "https://#x", "", " ", "https://user@example.com/",
    "https://user:secret@example.com/", "https://example.com@127.0.0.1/", "https://127.0.0.1@example.com/",
    "https://@example.com/", "https://:@example.com/", "https://example.com:80/", "https://example.com:22/",
    "https://example.com:6379/", "https://example.com:0/", "https://example.com:65536/", "https://example.com:-1/",
    "https://example.com:44 3/", "https://example.com:abc/", "https://example.com:８０/", "https://example.com:443:443/",
    "https://example.com\\@127.0.0.1/", "https://127.0.0.1\\@example.com/", "https:\\\\example.com/",
    "https://example.com\t.evil.test/", "https://exam\nple.com/", "https://example.com/\r\nHost: inner", "\thttps://example.com/",
    "https://example.com/ x", "https://example.com/\x00", "https://example.com\x00.inner/", "https://example.com/\xa0",
    "https://example.com/\u2028", "https://example.com/päth", "https://example.com/?q=ü", "https://example.com/#part",
    "https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://metadata/", "https://inner/",
    "https://a..b/", "https://.example.com/", "https://-a.example.com/", "https://a-.example.com/", "https://a_b.example.com/",
    "https://exa%6dple.com/", "https://%31%32%37.0.0.1/", "https://127.0.0.1%2f@example.com/", "https://[::1/", "https://::1/",
    "https://[127.0.0.1]/", "https://[]/", "https://[::1]]/", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/",
    "https://[2606:4700::1111%25lo]/", "https://[::1%251]/", "https://[v1.x]/", "https://1.2.3.4.5/", "https://1.2.3/",
    "https://256.1.1.1/", "https://1.1.1.256/", "https://example.0x7f/", "https://example.127/", "https://0x/", "https://0/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "https://ｌｏｃａｌｈｏｓｔ/", "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://xn--/",
    "https://" + "a" * 64 + ".com/", "https://" + "a." * 130 + "com/", "https://example.com/" + "a" * 2000,
    "https://example.com／@127.0.0.1/", "https://example.com？@127.0.0.1/", "https://exam\u00adple/", "https://\u202eexample.com/",
]  # fmt: skip

HOSTILE: Final = list(
    dict.fromkeys(
        [
            *_BY_HAND,
            *(f"https://{address}/" for address in INNER_4),
            *(f"https://{spelling}/" for address in INNER_4 for spelling in _spelt(address)),
            *(f"https://[{address}]/" for address in [*INNER_6, *_INNER_IN_IPV6]),
        ]
    )
)
"""Refused as they are, whatever any name server says."""

INNER: Final = [*INNER_4, *INNER_6, *_INNER_IN_IPV6, "fe80::1%eth0", "fe80::1%1", "nonsense", "127.1", "0x7f000001"]
"""What a hostile name server may answer with."""
PUBLIC: Final = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "192.0.1.1",
    "198.17.255.255", "198.20.0.1", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e",
    "2400:cb00::1", "64:ff9b::808:808", "::ffff:8.8.8.8",
]  # fmt: skip
