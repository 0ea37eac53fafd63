"""Settings: what the environment may say, and that an unsafe production does not start."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.core.config import DEVELOPMENT_SECRET, Misconfigured, Settings, settings

SECRET = "0123456789abcdef0123456789abcdef"
PRODUCTION = {
    "LOCALBAZAAR_ENVIRONMENT": "production",
    "LOCALBAZAAR_SECRET_KEYS": SECRET,
    "LOCALBAZAAR_MAIL_SENDER": "smtp",
    "LOCALBAZAAR_SMTP_URL": "smtps://user:mail-password@mail.example.in:465",
    "LOCALBAZAAR_TEXT_SENDER": "http",
    "LOCALBAZAAR_TEXT_GATEWAY_URL": "https://sms.example.in/send",
    "DATABASE_URL": "postgresql+asyncpg://bazaar:database-password@db/bazaar",
    "REDIS_URL": "redis://valkey/0",
    "LOCALBAZAAR_PAYMENT_PROVIDER": "stripe",
    "LOCALBAZAAR_STRIPE_SECRET_KEY": "sk_live_secret-of-stripe",
    "LOCALBAZAAR_STRIPE_WEBHOOK_SECRET": "whsec_secret-of-webhooks",
}
RAZORPAY = {
    "LOCALBAZAAR_PAYMENT_PROVIDER": "razorpay",
    "LOCALBAZAAR_RAZORPAY_KEY_ID": "rzp_live_0123456789abcd",
    "LOCALBAZAAR_RAZORPAY_KEY_SECRET": "secret-of-razorpay",
    "LOCALBAZAAR_RAZORPAY_WEBHOOK_SECRET": "secret-of-its-webhooks",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets exactly these variables and reads the settings from them."""

    def read(**variables: str) -> Settings:
        for name in ("DATABASE_URL", "REDIS_URL", *(f"LOCALBAZAAR_{field.upper()}" for field in Settings.model_fields)):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        # Past the cache: what this process runs with stays as it is.
        return settings.__wrapped__()

    return read


def test_without_an_environment_it_is_development(environment: Any) -> None:
    configured = environment()
    assert configured.environment == "development"
    assert configured.shows_sent_messages
    assert (configured.code_seconds, configured.code_wrong_tries) == (600, 5)
    assert (configured.access_token_seconds, configured.refresh_token_seconds) == (15 * 60, 30 * 24 * 3600)


def test_a_complete_production_starts_and_hides_sent_messages(environment: Any) -> None:
    configured = environment(**PRODUCTION)
    assert configured.environment == "production"
    assert not configured.shows_sent_messages


@pytest.mark.parametrize(
    ("changed", "variable"),
    [
        ({"LOCALBAZAAR_SECRET_KEYS": DEVELOPMENT_SECRET}, "LOCALBAZAAR_SECRET_KEYS"),
        ({"LOCALBAZAAR_SECRET_KEYS": f"{SECRET},{DEVELOPMENT_SECRET}"}, "LOCALBAZAAR_SECRET_KEYS"),
        ({"LOCALBAZAAR_SECRET_KEYS": "short"}, "LOCALBAZAAR_SECRET_KEYS"),
        ({"LOCALBAZAAR_SECRET_KEYS": f"{SECRET},short"}, "LOCALBAZAAR_SECRET_KEYS"),
        ({"LOCALBAZAAR_SECRET_KEYS": " , "}, "LOCALBAZAAR_SECRET_KEYS"),
        ({"LOCALBAZAAR_SECRET_KEYS": ""}, "LOCALBAZAAR_SECRET_KEYS"),
        ({"LOCALBAZAAR_MAIL_SENDER": "console"}, "LOCALBAZAAR_MAIL_SENDER"),
        ({"LOCALBAZAAR_TEXT_SENDER": "console"}, "LOCALBAZAAR_TEXT_SENDER"),
        ({"LOCALBAZAAR_SMTP_URL": ""}, "LOCALBAZAAR_SMTP_URL"),
        ({"LOCALBAZAAR_TEXT_GATEWAY_URL": ""}, "LOCALBAZAAR_TEXT_GATEWAY_URL"),
        ({"LOCALBAZAAR_WEBHOOK_LOOPBACK": "true"}, "LOCALBAZAAR_WEBHOOK_LOOPBACK"),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"REDIS_URL": ""}, "REDIS_URL"),
        ({"LOCALBAZAAR_PAYMENT_PROVIDER": "sandbox"}, "LOCALBAZAAR_PAYMENT_PROVIDER"),
        ({"LOCALBAZAAR_STRIPE_API_URL": "http://stripe.example"}, "LOCALBAZAAR_STRIPE_API_URL"),
        (RAZORPAY | {"LOCALBAZAAR_RAZORPAY_API_URL": "http://razorpay.example"}, "LOCALBAZAAR_RAZORPAY_API_URL"),
    ],
    ids=str,
)
def test_an_unsafe_production_is_refused_by_the_name_of_the_variable(
    environment: Any, changed: dict[str, str], variable: str
) -> None:
    with pytest.raises(Misconfigured, match=variable):
        environment(**PRODUCTION | changed)


def test_production_without_any_secret_is_refused(environment: Any) -> None:
    without = {name: value for name, value in PRODUCTION.items() if name != "LOCALBAZAAR_SECRET_KEYS"}
    with pytest.raises(Misconfigured, match="LOCALBAZAAR_SECRET_KEYS"):
        environment(**without)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOCALBAZAAR_ENVIRONMENT", "staging"),
        ("LOCALBAZAAR_LEAD_CAP", "0"),
        ("LOCALBAZAAR_CODE_SECONDS", "soon"),
        ("LOCALBAZAAR_CODE_WRONG_TRIES", "-1"),
        ("LOCALBAZAAR_LOGIN_TRIES_PER_ACCOUNT", "a few"),
        ("LOCALBAZAAR_SIGN_UPS_PER_ADDRESS", "20 an hour"),
        ("LOCALBAZAAR_MAIL_SENDER", "pigeon"),
        ("LOCALBAZAAR_PAYOUT_TIME_ZONE", "India/Pune"),
        ("LOCALBAZAAR_PAYOUT_TIME_ZONE", "../etc/passwd"),
        ("LOCALBAZAAR_PAYOUT_HOUR", "24"),
        ("LOCALBAZAAR_WEBHOOK_PORTS", "443,https"),
        ("LOCALBAZAAR_WEBHOOK_PORTS", "65536"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_the_name_of_its_variable(
    environment: Any, variable: str, value: str
) -> None:
    with pytest.raises(Misconfigured, match=f"^{variable}: "):
        environment(**{variable: value})


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        (PRODUCTION, "LOCALBAZAAR_STRIPE_SECRET_KEY"),
        (PRODUCTION, "LOCALBAZAAR_STRIPE_WEBHOOK_SECRET"),
        (RAZORPAY, "LOCALBAZAAR_RAZORPAY_KEY_ID"),
        (RAZORPAY, "LOCALBAZAAR_RAZORPAY_KEY_SECRET"),
        (RAZORPAY, "LOCALBAZAAR_RAZORPAY_WEBHOOK_SECRET"),
    ],
    ids=str,
)
def test_a_payment_provider_without_its_keys_is_refused_by_the_name_of_the_variable(
    environment: Any, variables: dict[str, str], missing: str, empty: str
) -> None:
    with pytest.raises(Misconfigured, match=missing):
        environment(**variables | {missing: empty})


def test_each_payment_provider_starts_with_its_keys(environment: Any) -> None:
    assert environment().payment_provider == "sandbox"
    assert environment(**PRODUCTION).payment_provider == "stripe"
    assert environment(**PRODUCTION | RAZORPAY).payment_provider == "razorpay"


def test_no_refusal_shows_a_secret(environment: Any) -> None:
    # Given an environment full of secrets, with one thing missing
    with pytest.raises(Misconfigured) as refused:
        environment(**PRODUCTION | {"REDIS_URL": "", "LOCALBAZAAR_LEAD_CAP": "0"})
    with pytest.raises(ValidationError) as raised:
        Settings(secret_keys="short and secret")
    with pytest.raises(Misconfigured) as keyless:
        environment(**PRODUCTION | RAZORPAY | {"LOCALBAZAAR_RAZORPAY_KEY_ID": ""})
    # Then what will be logged names no value
    for text in (str(refused.value), str(raised.value), str(keyless.value)):
        for secret in (SECRET, "mail-password", "database-password", "short and secret", "secret-of"):
            assert secret not in text


def test_secrets_do_not_show_when_settings_are_printed(environment: Any) -> None:
    shown = repr(environment(**PRODUCTION))
    assert SECRET not in shown
    assert "mail-password" not in shown
    assert "secret-of" not in shown
    assert "secret-of" not in repr(environment(**RAZORPAY))


def test_lists_are_separated_by_commas(environment: Any) -> None:
    configured = environment(
        LOCALBAZAAR_SECRET_KEYS=f"{SECRET}, {SECRET[::-1]}",
        LOCALBAZAAR_ALLOWED_ORIGINS="https://a.example, https://b.example,",
    )
    assert [key.get_secret_value() for key in configured.secret_keys] == [SECRET, SECRET[::-1]]
    assert configured.allowed_origins == ("https://a.example", "https://b.example")


def test_the_usual_names_of_the_servers_are_understood(environment: Any) -> None:
    assert environment(DATABASE_URL="postgresql://db", REDIS_URL="redis://v").database_url == "postgresql://db"
    assert environment(LOCALBAZAAR_REDIS_URL="redis://v").redis_url == "redis://v"
