"""Settings: every limit, fee, deadline and percentage of the product, read from the environment once, at start.

`DATABASE_URL` and `REDIS_URL` keep their usual names; everything else is `LOCALBAZAAR_<NAME>`.
"""

from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.setting_types import (
    Allowance,
    Amount,
    BasisPoints,
    Bytes,
    Count,
    Listed,
    Port,
    PushContact,
    PushKey,
    PushService,
    Seconds,
    TimeZone,
)

DEVELOPMENT_SECRET = "a secret that only development may use"  # noqa: S105 - refused in production below
_SANDBOX_SECRET = "a secret between the server and its sandbox"  # noqa: S105 - no money is behind it


def origin_of(url: str) -> str:
    """The origin of an address; ValueError for what is none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class MailSender(StrEnum):
    CONSOLE = "console"
    SMTP = "smtp"


class TextSender(StrEnum):
    CONSOLE = "console"
    HTTP = "http"


class ProviderName(StrEnum):
    """Who takes the money of customers; `sandbox` is this server itself and moves none."""

    SANDBOX = "sandbox"
    STRIPE = "stripe"
    RAZORPAY = "razorpay"


class Settings(BaseSettings):
    """One field per knob; the default is the value that the specification names."""

    # Errors do not show the input: it holds secrets, and errors are logged.
    model_config = SettingsConfigDict(
        env_prefix="LOCALBAZAAR_", extra="ignore", frozen=True, validate_default=True, hide_input_in_errors=True
    )

    environment: Environment = Environment.DEVELOPMENT
    database_url: str = Field("", validation_alias=AliasChoices("DATABASE_URL", "LOCALBAZAAR_DATABASE_URL"))
    redis_url: str = Field("", validation_alias=AliasChoices("REDIS_URL", "LOCALBAZAAR_REDIS_URL"))
    data_folder: Path = Path("data")
    """Where the embedded servers and the local object storage keep their files."""
    public_url: str = "http://127.0.0.1:8000"
    allowed_origins: Listed[str] = ()
    """Origins of browser pages that may call the API, open sockets and be returned to from a checkout besides
    `public_url`, separated by commas."""
    secret_keys: Listed[SecretStr] = (SecretStr(DEVELOPMENT_SECRET),)
    """Signing keys, separated by commas; the first signs, all verify: a key is rotated by putting a new one first."""

    database_pool_size: Count = 20
    database_pool_timeout_seconds: Seconds = 10
    database_statement_timeout_seconds: Seconds = 15
    database_silence_seconds: Seconds = 5
    """How much longer than a statement may take its answer is waited for; then the connection is given up."""

    json_body_limit_bytes: Bytes = 64 * 1024

    access_token_seconds: Seconds = 15 * 60
    refresh_token_seconds: Seconds = 30 * 24 * 3600
    session_recheck_seconds: float = Field(1.0, ge=0)
    """How long a process may trust a session that it has verified when no hint of a change reaches it."""
    code_seconds: Seconds = 600
    code_wrong_tries: Count = 5
    code_resend_seconds: Seconds = 60
    code_resends_an_hour: Count = 5
    login_tries_per_account: Allowance = "10/15 minutes"
    login_tries_per_address: Allowance = "100/15 minutes"
    sign_ups_per_address: Allowance = "20/hour"
    reapplication_notices: Allowance = "1/hour"
    """How often the managers are told that a provider who was turned down tries again."""
    password_hash_memory_kib: Count = 19 * 1024
    password_hash_passes: Count = 2
    password_hash_workers: Count = 2

    mail_sender: MailSender = MailSender.CONSOLE
    mail_from: str = "LocalBazaar <no-reply@localbazaar.in>"
    smtp_url: SecretStr = SecretStr("")
    """smtp://user:password@host:port, smtps:// for TLS from the first byte."""
    text_sender: TextSender = TextSender.CONSOLE
    text_gateway_url: SecretStr = SecretStr("")
    text_gateway_token: SecretStr = SecretStr("")

    push_private_key: PushKey = SecretStr("")
    """The VAPID key of web push: a P-256 private key, its 32 bytes in URL-safe base64 without padding. Empty for one
    that is derived from the first of the secret keys, and changes with it."""
    push_contact: PushContact = "mailto:no-reply@localbazaar.in"
    """Whom a push service may turn to about our messages: mailto: or https:."""
    push_services: Listed[PushService] = (
        "fcm.googleapis.com",
        "*.push.services.mozilla.com",
        "*.notify.windows.com",
        "web.push.apple.com",
    )
    """Hosts that may be asked to push, separated by commas; `*.` stands for any subdomain. An address of the loopback,
    such as http://127.0.0.1:9000, stands for a push service of a developer's own."""
    push_seconds: Seconds = 10
    """How long one request to a push service may take in all."""
    push_life_seconds: Seconds = 24 * 3600
    """How long a message waits for a device that is away, or for a push service that does not take it."""
    push_retry_seconds: Seconds = 3600
    """The longest that a push service may have us wait before we try again."""
    push_devices_per_user: Count = 10
    push_refusals: Count = 5
    """A device is forgotten when its push service has refused so many messages in a row."""

    storage_url: str = ""
    """s3://bucket/prefix (credentials from the usual AWS_* variables); empty for a folder below `data_folder`."""
    image_limit_bytes: Bytes = 10 * 1024 * 1024
    video_limit_bytes: Bytes = 100 * 1024 * 1024
    image_limit_pixels: Count = 25_000_000
    evidence_least_pixels_long: Count = 800
    evidence_least_pixels_short: Count = 600
    """Either way up: an image of evidence is at least so long at its longer edge, and at its shorter one."""
    thumbnail_pixels: Count = 320
    image_children: Count = 2
    """Processes that decode images, for each server process; started when they are needed."""
    image_memory_bytes: Bytes = 512 * 1024 * 1024
    """What one of them may ask the system for."""
    image_cpu_seconds: Seconds = 1.5
    """For one image; with what comes before and behind, an answer takes less than two seconds."""
    image_seconds: Seconds = 10
    """For one image by the clock on the wall, however busy the machine is."""
    image_wait_seconds: Seconds = 30
    """How long an upload waits for one of the processes."""
    image_child_idle_seconds: Seconds = 60
    images_per_child: Count = 500
    file_link_seconds: Seconds = 300
    files_unattached_per_user: Count = 20
    file_unattached_seconds: Seconds = 3600
    files_bytes_per_user_a_day: Bytes = 1024 * 1024 * 1024
    """What one user may upload in 24 hours, of what is still there."""
    evidence_retention_seconds: Seconds = 30 * 24 * 3600
    """How long images of evidence are kept after their subject has ended."""

    currency: str = "INR"
    house_currencies: Listed[str] = ("GOLD",)
    """Codes of currencies of the house, separated by commas; admins top them up, no payment provider does."""
    lead_fee_minor: Amount = 5000
    lead_cap: Count = 5
    lead_report_seconds: Seconds = 7 * 24 * 3600
    service_request_expiry_seconds: Seconds = 30 * 24 * 3600
    service_requests_open_per_customer: Count = 50
    matching_providers_notified: Count = 200
    region_reach_metres: Count = 50_000
    """How far from the nearest region's centre a request or a provider may be."""
    messages_per_user: Allowance = "60/minute"
    """How many messages somebody may send in all conversations."""
    conversations_per_user: Allowance = "60/hour"
    """How often somebody may open a conversation, a new one or one that there is."""
    message_reports_per_user: Allowance = "20/hour"
    """How many messages somebody may report."""
    wallet_top_up_limit_minor: Count = 10_000_000_00
    debt_limit_minor: Amount = 5_000_00
    """How much an owner may owe in one currency: commission of cash jobs, refunds after the money was paid on."""
    teams_per_owner: Count = 10
    members_per_team: Count = 50
    """Active members; whoever accepts an invitation to a full team is refused."""
    team_invitations: Allowance = "50/day"
    """How many one owner may send, to people who exist and to others."""
    team_invitations_pending: Count = 100
    """How many of a team's may wait for an answer; further ones are not delivered."""
    advertised_services_per_advertiser: Count = 200
    """Those that are archived do not count."""
    work_order_commission_basis_points: BasisPoints = 1_000
    """The platform's share of a work order's price, in hundredths of a percent; frozen when it is bought."""
    house_currency_commission_basis_points: BasisPoints = 0
    """The same, where the price is in a currency of the house."""
    work_order_reviewers_notified: Count = 100
    """How many hear of what a work order's team, reviewers or support have to look at; the advertiser is the first."""

    payment_provider: ProviderName = ProviderName.SANDBOX
    payments_per_payer: Allowance = "60/hour"
    """How many payments somebody may begin."""
    payment_checkout_seconds: Seconds = 30 * 60
    """How long a payer may take; what arrives later is sent back."""
    sandbox_webhook_secret: SecretStr = Field(SecretStr(_SANDBOX_SECRET), min_length=32)
    """Signs the webhooks of the sandbox payment provider."""
    payment_provider_seconds: Seconds = 20
    """How long one request to the payment provider may take in all."""
    stripe_secret_key: SecretStr = SecretStr("")
    stripe_webhook_secret: SecretStr = SecretStr("")
    stripe_api_url: str = ""
    """Empty for Stripe's own; no slash at the end."""
    razorpay_key_id: str = ""
    razorpay_key_secret: SecretStr = SecretStr("")
    razorpay_webhook_secret: SecretStr = SecretStr("")
    razorpay_api_url: str = ""
    """Empty for Razorpay's own; no slash at the end."""
    razorpay_webhook_age_seconds: Seconds = 15 * 24 * 3600
    """How old the newest time in a signed webhook of Razorpay's may be; the default is how far back they resend."""
    statement_period_seconds: Seconds = 366 * 24 * 3600
    """The longest period of one exported statement."""
    statement_documents: Allowance = "10/hour"
    """How often somebody may have a statement written as a document."""
    payout_minimum_minor: Count = 100_00
    payout_maximum_minor: Count = 10_00_000_00
    payout_profile_changes: Allowance = "10/day"
    """How often somebody may hand in bank data, which admins then have to look at."""
    payout_time_zone: TimeZone = "Asia/Kolkata"
    payout_hour: int = Field(6, ge=0, le=23)
    """When scheduled payouts are made: on Mondays, or on the first of the month."""
    invoice_seller_name: Annotated[str, Field(min_length=1)] = "LocalBazaar"
    """The platform as a seller, as it stands on its invoices; with its address and tax number below."""
    invoice_seller_address: str = ""
    invoice_seller_tax_id: str = ""
    invoice_prefix: Annotated[str, Field(pattern=r"^[A-Z]{1,4}$")] = "LB"
    """What the platform's invoice numbers begin with."""
    invoice_tax_basis_points: BasisPoints = 0
    """The tax that prices include, in hundredths of a percent; frozen on each invoice."""
    invoice_time_zone: TimeZone = "Asia/Kolkata"
    """In which an invoice has its date and its year."""

    ticket_seconds: Seconds = 30
    resume_seconds: Seconds = 7 * 24 * 3600
    socket_heartbeat_seconds: Seconds = 25
    socket_frame_limit_bytes: Bytes = 4096
    socket_frames_a_minute: Count = 120
    sockets_per_user: Count = 20
    socket_stall_seconds: Seconds = 7
    """How long a reader may take nothing; with the sweep that finds it, it is closed within ten seconds."""
    connection_stall_seconds: Seconds = 60
    """How long any connection may leave what waits for it; then it is cut, and what it held is free."""
    topics_per_socket: Count = 50
    topic_recheck_seconds: Seconds = 3
    """How soon somebody who takes part in a subject no longer stops following it."""
    topic_message_seconds: Seconds = 1
    """How far apart, on average, are the typing frames and positions of one user on one topic that are passed on."""
    presence_seconds: Seconds = 30
    """How long after the sudden end of a server process its users still count as present."""
    position_seconds: Seconds = 120
    """How long the newest position on a topic is kept for those who subscribe later."""
    acknowledgement_flush_seconds: Seconds = 1
    """How long acknowledged events are gathered before they are stored together."""
    hub_sweep_seconds: Seconds = 2
    """How soon a socket hears of an event whose hint was lost."""
    idempotency_seconds: Seconds = 7 * 24 * 3600
    event_retention_seconds: Seconds = 90 * 24 * 3600
    deadline_poll_seconds: Seconds = 0.5
    deadline_concurrency: Count = 4
    relay_poll_seconds: Seconds = 0.2

    api_keys_per_user: Count = 20
    api_keys_made: Allowance = "30/day"
    """How often somebody may make an API key."""
    api_key_requests: Allowance = "600/minute"
    """How often one API key may be used."""
    api_key_use_seconds: Seconds = 60
    """How often the last use of an API key is noted."""
    webhook_endpoints_per_user: Count = 10
    webhook_endpoint_changes: Allowance = "60/hour"
    """How often somebody may make a webhook endpoint or give one another address: each looks a name up."""
    webhook_replays: Allowance = "300/hour"
    """How many deliveries somebody may have sent again by hand."""
    webhook_ports: Listed[Port] = (443,)
    """Ports that webhooks may be sent to, separated by commas."""
    webhook_loopback: bool = False
    """Development only: webhooks may go to this very machine, also by http and to any port."""
    webhook_seconds: Seconds = 10
    """How long one attempt may take in all, from the look-up of the name to the head of the answer."""
    webhook_concurrency: Count = 50
    """Attempts that one worker makes at the same time."""
    webhook_concurrency_per_endpoint: Count = 4
    """Of these, to one endpoint."""
    webhook_retry_first_seconds: Seconds = 10
    """The pause after the first failure; each later one is three times as long, and all vary by a fifth."""
    webhook_retry_longest_seconds: Seconds = 4 * 3600
    webhook_retry_seconds: Seconds = 24 * 3600
    """How long a delivery is tried again."""
    webhook_disable_seconds: Seconds = 3 * 24 * 3600
    """How long every attempt has to fail until the endpoint is disabled."""
    webhook_secret_overlap_seconds: Seconds = 24 * 3600
    """How long the secret before still signs, beside a new one."""
    webhook_poll_seconds: Seconds = 0.5
    """How often a worker looks for deliveries that are due."""

    @model_validator(mode="after")
    def _refuse_an_unsafe_production(self) -> Self:
        if not self.secret_keys or any(len(key.get_secret_value()) < 32 for key in self.secret_keys):
            raise ValueError("LOCALBAZAAR_SECRET_KEYS needs at least one key, each of 32 characters or more")
        if self.mail_sender is MailSender.SMTP and not self.smtp_url.get_secret_value():
            raise ValueError("LOCALBAZAAR_MAIL_SENDER=smtp needs LOCALBAZAAR_SMTP_URL")
        if self.text_sender is TextSender.HTTP and not self.text_gateway_url.get_secret_value():
            raise ValueError("LOCALBAZAAR_TEXT_SENDER=http needs LOCALBAZAAR_TEXT_GATEWAY_URL")
        if self.environment is not Environment.PRODUCTION:
            return self
        if any(key.get_secret_value() == DEVELOPMENT_SECRET for key in self.secret_keys):
            raise ValueError("production needs LOCALBAZAAR_SECRET_KEYS of its own")
        if MailSender.CONSOLE is self.mail_sender or TextSender.CONSOLE is self.text_sender:
            raise ValueError(
                "production must not print sign-up codes: set LOCALBAZAAR_MAIL_SENDER=smtp and "
                "LOCALBAZAAR_TEXT_SENDER=http"
            )
        if any("://" in service for service in self.push_services):
            raise ValueError("LOCALBAZAAR_PUSH_SERVICES: production asks only hosts, over https")
        if not (self.database_url and self.redis_url):
            raise ValueError("production needs DATABASE_URL and REDIS_URL")
        if self.webhook_loopback:
            raise ValueError("production must not send webhooks to itself: unset LOCALBAZAAR_WEBHOOK_LOOPBACK")
        return self

    @model_validator(mode="after")
    def _refuse_a_payment_provider_that_cannot_work(self) -> Self:
        needed = {
            ProviderName.SANDBOX: {},
            ProviderName.STRIPE: {
                "LOCALBAZAAR_STRIPE_SECRET_KEY": self.stripe_secret_key.get_secret_value(),
                "LOCALBAZAAR_STRIPE_WEBHOOK_SECRET": self.stripe_webhook_secret.get_secret_value(),
            },
            ProviderName.RAZORPAY: {
                "LOCALBAZAAR_RAZORPAY_KEY_ID": self.razorpay_key_id,
                "LOCALBAZAAR_RAZORPAY_KEY_SECRET": self.razorpay_key_secret.get_secret_value(),
                "LOCALBAZAAR_RAZORPAY_WEBHOOK_SECRET": self.razorpay_webhook_secret.get_secret_value(),
            },
        }[self.payment_provider]
        if missing := [variable for variable, value in needed.items() if not value.strip()]:
            raise ValueError(f"LOCALBAZAAR_PAYMENT_PROVIDER={self.payment_provider} needs {' and '.join(missing)}")
        if self.environment is not Environment.PRODUCTION:
            return self
        if self.payment_provider is ProviderName.SANDBOX:
            raise ValueError("production must not make believe that it was paid: set LOCALBAZAAR_PAYMENT_PROVIDER")
        for variable, url in (
            ("LOCALBAZAAR_STRIPE_API_URL", self.stripe_api_url),
            ("LOCALBAZAAR_RAZORPAY_API_URL", self.razorpay_api_url),
        ):
            if url and not url.startswith("https://"):
                raise ValueError(f"{variable} must begin with https:// in production, because keys travel there")
        return self

    def allows_origin(self, origin: str) -> bool:
        """Whether this origin, exactly as a browser names it, is the service's own or one that the settings allow."""
        return origin == origin_of(self.public_url) or origin in self.allowed_origins

    def knows_currency(self, currency: str) -> bool:
        """Whether prices and wallets may be in this currency: the platform's own, or one of the house."""
        return currency == self.currency or currency in self.house_currencies

    @property
    def shows_sent_messages(self) -> bool:
        """Whether messages of the console senders can be read back over HTTP: in development only."""
        return self.environment is Environment.DEVELOPMENT


class Misconfigured(Exception):
    """The environment does not make sense; one line for each variable, by its name and without its value."""

    def __init__(self, error: ValidationError) -> None:
        super().__init__("\n".join(_line(item["loc"], item["msg"]) for item in error.errors(include_input=False)))


def _line(where: tuple[int | str, ...], message: str) -> str:
    if not where:
        return message.removeprefix("Value error, ")
    variable = str(where[0])
    if variable in Settings.model_fields:
        variable = f"LOCALBAZAAR_{variable.upper()}"
    return f"{variable}: {message}"


@lru_cache
def settings() -> Settings:
    """The settings of this process; a wrong environment fails here, at start: `Misconfigured` names the variable."""
    try:
        return Settings()
    except ValidationError as error:
        raise Misconfigured(error) from None
