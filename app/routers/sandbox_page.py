"""What the sandbox's hosted page looks like: one small page of its own, without scripts, that fits a phone."""

from html import escape
from string import Template
from typing import Final

from app.adapters.payments.sandbox import CheckoutState, HostedCheckout
from app.core.money import shown

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>$title – LocalBazaar sandbox</title>
<style>
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5d6678; --paper: #fff; --ground: #eef1f6; --line: #d9dee8;
  --go: #14734a; --note: #7a4d00; --note-ground: #fff3d6;
  --good: #0f5f3c; --good-ground: #e2f4ea }
@media (prefers-color-scheme: dark) { :root { --ink: #eef1f6; --soft: #a9b2c3; --paper: #1b2130; --ground: #10141d;
  --line: #343c4e; --go: #187a50; --note: #ffd98a; --note-ground: #3a2d10;
  --good: #9fe3bf; --good-ground: #12352a } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; min-height: 100svh; padding: 1rem; display: grid; place-items: center;
  background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif }
main { width: 100%; max-width: 26rem; padding: 1.75rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: 1rem; box-shadow: 0 .5rem 2rem rgb(20 30 60 / .08) }
.shop { display: flex; align-items: center; justify-content: space-between; gap: 1rem; font-weight: 600 }
.badge { padding: .125rem .625rem; border-radius: 1rem; background: var(--note-ground); color: var(--note);
  font-size: .8125rem; white-space: nowrap }
h1 { margin: 1.5rem 0 0; font-size: 2.25rem; line-height: 1.2; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere }
.what { margin: .25rem 0 1.5rem; color: var(--soft); overflow-wrap: anywhere; white-space: pre-line }
.state { margin: 0 0 1.25rem; padding: .75rem 1rem; border-left: .25rem solid var(--note);
  background: var(--note-ground); color: var(--note); font-weight: 600 }
.state.paid { border-color: var(--good); background: var(--good-ground); color: var(--good) }
form { margin: .625rem 0 0 }
button, .back { display: block; width: 100%; padding: .8125rem 1rem; border: 1px solid var(--line);
  border-radius: .625rem; background: transparent; color: inherit; font: inherit; font-weight: 600;
  text-align: center; text-decoration: none; cursor: pointer }
button.pay { border-color: var(--go); background: var(--go); color: #fff }
button.quiet { border-color: transparent; color: var(--soft); font-weight: 400 }
button:hover, .back:hover { filter: brightness(1.08); border-color: var(--soft) }
button:focus-visible, .back:focus-visible { outline: 3px solid #4c8dff; outline-offset: 2px }
small { display: block; margin-top: 1.25rem; color: var(--soft); font-size: .8125rem; text-align: center }
</style>
</head>
<body>
<main>
<div class="shop"><span>LocalBazaar</span><span class="badge">Sandbox</span></div>
<h1>$amount</h1>
<p class="what">$description</p>
$choice
<small>For trying things out: no real money moves.</small>
</main>
</body>
</html>
""")
_BUTTONS: Final = Template("""<form method="post" action="$token/pay"><button class="pay">Pay $amount</button></form>
<form method="post" action="$token/decline"><button>Decline</button></form>
<form method="post" action="$token/abandon"><button class="quiet">Go back without paying</button></form>""")
_STATE: Final = Template("""<p class="state $state" role="status">$sentence</p>
<a class="back" href="$way_back">Go back</a>""")
_SENTENCES: Final = {
    CheckoutState.PAID: "This is paid.",
    CheckoutState.DECLINED: "The payment was declined.",
    CheckoutState.ABANDONED: "You went back without paying.",
    CheckoutState.EXPIRED: "The time to pay is over.",
}
_TITLES: Final = {
    CheckoutState.OPEN: "Pay",
    CheckoutState.PAID: "Paid",
    CheckoutState.DECLINED: "Declined",
    CheckoutState.ABANDONED: "Not paid",
    CheckoutState.EXPIRED: "Expired",
}


def render(checkout: HostedCheckout) -> str:
    """The page, whatever the order's texts hold."""
    amount = escape(shown(checkout.amount_minor, checkout.currency))
    if checkout.state is CheckoutState.OPEN:
        choice = _BUTTONS.substitute(token=checkout.token, amount=amount)
    else:
        choice = _STATE.substitute(
            state=checkout.state.lower(), sentence=_SENTENCES[checkout.state], way_back=escape(checkout.way_back)
        )
    return _PAGE.substitute(
        title=f"{_TITLES[checkout.state]} {amount}",
        amount=amount,
        description=escape(checkout.description),
        choice=choice,
    )


def headers(checkout: HostedCheckout) -> dict[str, str]:
    """Nothing runs here, nothing is fetched, nobody frames it, and no other site learns its address."""
    return {
        # Chromium holds a form to this on its way back too, so the origin that it leads to is named.
        "Content-Security-Policy": (
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action 'self' {checkout.return_origin}"
        ),
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
