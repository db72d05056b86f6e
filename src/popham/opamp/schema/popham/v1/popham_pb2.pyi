from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Report(_message.Message):
    __slots__ = ("generation", "state", "bundle", "lacks", "results")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    LACKS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    state: bytes
    bundle: bytes
    lacks: _containers.RepeatedScalarFieldContainer[str]
    results: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, generation: _Optional[int] = ..., state: _Optional[bytes] = ..., bundle: _Optional[bytes] = ..., lacks: _Optional[_Iterable[str]] = ..., results: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Directive(_message.Message):
    __slots__ = ("generation", "retry_window_seconds", "assignment", "want_bundle", "check_in", "text", "stretch_seconds", "operations", "heard", "want_outputs", "nonce", "want_state")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RETRY_WINDOW_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    WANT_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    CHECK_IN_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STRETCH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    WANT_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    WANT_STATE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    retry_window_seconds: float
    assignment: bytes
    want_bundle: bool
    check_in: bool
    text: str
    stretch_seconds: float
    operations: _containers.RepeatedScalarFieldContainer[bytes]
    heard: _containers.RepeatedScalarFieldContainer[str]
    want_outputs: _containers.RepeatedScalarFieldContainer[str]
    nonce: bytes
    want_state: bool
    def __init__(self, generation: _Optional[int] = ..., retry_window_seconds: _Optional[float] = ..., assignment: _Optional[bytes] = ..., want_bundle: _Optional[bool] = ..., check_in: _Optional[bool] = ..., text: _Optional[str] = ..., stretch_seconds: _Optional[float] = ..., operations: _Optional[_Iterable[bytes]] = ..., heard: _Optional[_Iterable[str]] = ..., want_outputs: _Optional[_Iterable[str]] = ..., nonce: _Optional[bytes] = ..., want_state: _Optional[bool] = ...) -> None: ...

class Enroll(_message.Message):
    __slots__ = ("generation", "token_id", "signature", "name", "labels", "proxy")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROXY_FIELD_NUMBER: _ClassVar[int]
    generation: int
    token_id: str
    signature: bytes
    name: str
    labels: _containers.ScalarMap[str, str]
    proxy: bool
    def __init__(self, generation: _Optional[int] = ..., token_id: _Optional[str] = ..., signature: _Optional[bytes] = ..., name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., proxy: _Optional[bool] = ...) -> None: ...

class Renew(_message.Message):
    __slots__ = ("generation", "certificate", "signature")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    certificate: bytes
    signature: bytes
    def __init__(self, generation: _Optional[int] = ..., certificate: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Admission(_message.Message):
    __slots__ = ("state", "retry_after_seconds", "assignment", "text")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Admission.State]
        NEW: _ClassVar[Admission.State]
        ACCEPTED: _ClassVar[Admission.State]
        REFUSED: _ClassVar[Admission.State]
        REVOKED: _ClassVar[Admission.State]
    STATE_UNSPECIFIED: Admission.State
    NEW: Admission.State
    ACCEPTED: Admission.State
    REFUSED: Admission.State
    REVOKED: Admission.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    state: Admission.State
    retry_after_seconds: float
    assignment: bytes
    text: str
    def __init__(self, state: _Optional[_Union[Admission.State, str]] = ..., retry_after_seconds: _Optional[float] = ..., assignment: _Optional[bytes] = ..., text: _Optional[str] = ...) -> None: ...

class Standing(_message.Message):
    __slots__ = ("stream", "epoch", "newest", "next", "last", "ranges", "boots", "credit", "retry_after_seconds", "refused", "lent", "above")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    BOOTS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    LENT_FIELD_NUMBER: _ClassVar[int]
    ABOVE_FIELD_NUMBER: _ClassVar[int]
    stream: str
    epoch: int
    newest: int
    next: int
    last: bytes
    ranges: _containers.RepeatedCompositeFieldContainer[StreamRange]
    boots: _containers.RepeatedCompositeFieldContainer[StreamBoot]
    credit: int
    retry_after_seconds: float
    refused: bool
    lent: bool
    above: int
    def __init__(self, stream: _Optional[str] = ..., epoch: _Optional[int] = ..., newest: _Optional[int] = ..., next: _Optional[int] = ..., last: _Optional[bytes] = ..., ranges: _Optional[_Iterable[_Union[StreamRange, _Mapping]]] = ..., boots: _Optional[_Iterable[_Union[StreamBoot, _Mapping]]] = ..., credit: _Optional[int] = ..., retry_after_seconds: _Optional[float] = ..., refused: _Optional[bool] = ..., lent: _Optional[bool] = ..., above: _Optional[int] = ...) -> None: ...

class StreamRange(_message.Message):
    __slots__ = ("first", "end", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    end: int
    last: bytes
    def __init__(self, first: _Optional[int] = ..., end: _Optional[int] = ..., last: _Optional[bytes] = ...) -> None: ...

class StreamBoot(_message.Message):
    __slots__ = ("boot", "first")
    BOOT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    boot: bytes
    first: int
    def __init__(self, boot: _Optional[bytes] = ..., first: _Optional[int] = ...) -> None: ...

class Append(_message.Message):
    __slots__ = ("stream", "frames", "now", "waiting")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    stream: str
    frames: bytes
    now: float
    waiting: int
    def __init__(self, stream: _Optional[str] = ..., frames: _Optional[bytes] = ..., now: _Optional[float] = ..., waiting: _Optional[int] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("streams",)
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, streams: _Optional[_Iterable[str]] = ...) -> None: ...

class Standings(_message.Message):
    __slots__ = ("standings",)
    STANDINGS_FIELD_NUMBER: _ClassVar[int]
    standings: _containers.RepeatedCompositeFieldContainer[Standing]
    def __init__(self, standings: _Optional[_Iterable[_Union[Standing, _Mapping]]] = ...) -> None: ...

class RelayHead(_message.Message):
    __slots__ = ("boot", "other", "number", "heard", "more", "generation")
    BOOT_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    boot: int
    other: int
    number: int
    heard: int
    more: bool
    generation: int
    def __init__(self, boot: _Optional[int] = ..., other: _Optional[int] = ..., number: _Optional[int] = ..., heard: _Optional[int] = ..., more: _Optional[bool] = ..., generation: _Optional[int] = ...) -> None: ...

class RelayUp(_message.Message):
    __slots__ = ("head", "agents", "presence", "streams", "calls", "lacks", "groups", "agents_known", "status", "left")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    LACKS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    AGENTS_KNOWN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    head: RelayHead
    agents: _containers.RepeatedCompositeFieldContainer[AgentSaid]
    presence: bytes
    streams: _containers.RepeatedCompositeFieldContainer[Carried]
    calls: _containers.RepeatedCompositeFieldContainer[RelayCall]
    lacks: _containers.RepeatedCompositeFieldContainer[Lack]
    groups: _containers.RepeatedCompositeFieldContainer[Known]
    agents_known: _containers.RepeatedCompositeFieldContainer[Known]
    status: bytes
    left: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, head: _Optional[_Union[RelayHead, _Mapping]] = ..., agents: _Optional[_Iterable[_Union[AgentSaid, _Mapping]]] = ..., presence: _Optional[bytes] = ..., streams: _Optional[_Iterable[_Union[Carried, _Mapping]]] = ..., calls: _Optional[_Iterable[_Union[RelayCall, _Mapping]]] = ..., lacks: _Optional[_Iterable[_Union[Lack, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[Known, _Mapping]]] = ..., agents_known: _Optional[_Iterable[_Union[Known, _Mapping]]] = ..., status: _Optional[bytes] = ..., left: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RelayDown(_message.Message):
    __slots__ = ("head", "agents", "groups", "standings", "replies", "bodies", "places", "nonce", "visitor", "orders", "all_places")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    STANDINGS_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    BODIES_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    VISITOR_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    ALL_PLACES_FIELD_NUMBER: _ClassVar[int]
    head: RelayHead
    agents: _containers.RepeatedCompositeFieldContainer[AgentTold]
    groups: _containers.RepeatedCompositeFieldContainer[GroupTold]
    standings: _containers.RepeatedCompositeFieldContainer[Stood]
    replies: _containers.RepeatedCompositeFieldContainer[RelayReply]
    bodies: _containers.RepeatedCompositeFieldContainer[Body]
    places: _containers.RepeatedCompositeFieldContainer[PlaceTold]
    nonce: bytes
    visitor: bytes
    orders: bytes
    all_places: bool
    def __init__(self, head: _Optional[_Union[RelayHead, _Mapping]] = ..., agents: _Optional[_Iterable[_Union[AgentTold, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[GroupTold, _Mapping]]] = ..., standings: _Optional[_Iterable[_Union[Stood, _Mapping]]] = ..., replies: _Optional[_Iterable[_Union[RelayReply, _Mapping]]] = ..., bodies: _Optional[_Iterable[_Union[Body, _Mapping]]] = ..., places: _Optional[_Iterable[_Union[PlaceTold, _Mapping]]] = ..., nonce: _Optional[bytes] = ..., visitor: _Optional[bytes] = ..., orders: _Optional[bytes] = ..., all_places: _Optional[bool] = ...) -> None: ...

class Known(_message.Message):
    __slots__ = ("key", "digest", "stands")
    KEY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STANDS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    digest: bytes
    stands: bool
    def __init__(self, key: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., stands: _Optional[bool] = ...) -> None: ...

class AgentSaid(_message.Message):
    __slots__ = ("key", "index", "via", "message", "address", "age", "promise", "held", "token", "offered", "unvisited")
    KEY_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VIA_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    OFFERED_FIELD_NUMBER: _ClassVar[int]
    UNVISITED_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    index: int
    via: _containers.RepeatedScalarFieldContainer[bytes]
    message: bytes
    address: str
    age: float
    promise: float
    held: bool
    token: str
    offered: _containers.RepeatedScalarFieldContainer[str]
    unvisited: str
    def __init__(self, key: _Optional[bytes] = ..., index: _Optional[int] = ..., via: _Optional[_Iterable[bytes]] = ..., message: _Optional[bytes] = ..., address: _Optional[str] = ..., age: _Optional[float] = ..., promise: _Optional[float] = ..., held: _Optional[bool] = ..., token: _Optional[str] = ..., offered: _Optional[_Iterable[str]] = ..., unvisited: _Optional[str] = ...) -> None: ...

class AgentTold(_message.Message):
    __slots__ = ("key", "gone", "name", "group", "kind", "admission", "public_key", "former_key", "assignment", "assignment_seq", "certificate_until", "dialer", "candidate", "orders", "heard", "want_outputs", "restart", "check_ins", "revision", "want_state", "want_bundle", "token_until", "proxy", "say")
    KEY_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ADMISSION_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    FORMER_KEY_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_SEQ_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    DIALER_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    WANT_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    CHECK_INS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WANT_STATE_FIELD_NUMBER: _ClassVar[int]
    WANT_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_UNTIL_FIELD_NUMBER: _ClassVar[int]
    PROXY_FIELD_NUMBER: _ClassVar[int]
    SAY_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    gone: bool
    name: str
    group: str
    kind: str
    admission: str
    public_key: bytes
    former_key: bytes
    assignment: bytes
    assignment_seq: int
    certificate_until: float
    dialer: str
    candidate: str
    orders: _containers.RepeatedCompositeFieldContainer[OrderTold]
    heard: _containers.RepeatedScalarFieldContainer[str]
    want_outputs: _containers.RepeatedScalarFieldContainer[str]
    restart: str
    check_ins: int
    revision: int
    want_state: bool
    want_bundle: bool
    token_until: float
    proxy: ScopeTold
    say: bool
    def __init__(self, key: _Optional[bytes] = ..., gone: _Optional[bool] = ..., name: _Optional[str] = ..., group: _Optional[str] = ..., kind: _Optional[str] = ..., admission: _Optional[str] = ..., public_key: _Optional[bytes] = ..., former_key: _Optional[bytes] = ..., assignment: _Optional[bytes] = ..., assignment_seq: _Optional[int] = ..., certificate_until: _Optional[float] = ..., dialer: _Optional[str] = ..., candidate: _Optional[str] = ..., orders: _Optional[_Iterable[_Union[OrderTold, _Mapping]]] = ..., heard: _Optional[_Iterable[str]] = ..., want_outputs: _Optional[_Iterable[str]] = ..., restart: _Optional[str] = ..., check_ins: _Optional[int] = ..., revision: _Optional[int] = ..., want_state: _Optional[bool] = ..., want_bundle: _Optional[bool] = ..., token_until: _Optional[float] = ..., proxy: _Optional[_Union[ScopeTold, _Mapping]] = ..., say: _Optional[bool] = ...) -> None: ...

class ScopeTold(_message.Message):
    __slots__ = ("groups", "agents", "orders", "visitor")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    VISITOR_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedScalarFieldContainer[str]
    agents: _containers.RepeatedScalarFieldContainer[bytes]
    orders: bytes
    visitor: bytes
    def __init__(self, groups: _Optional[_Iterable[str]] = ..., agents: _Optional[_Iterable[bytes]] = ..., orders: _Optional[bytes] = ..., visitor: _Optional[bytes] = ...) -> None: ...

class OrderTold(_message.Message):
    __slots__ = ("nonce", "envelope")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    nonce: str
    envelope: bytes
    def __init__(self, nonce: _Optional[str] = ..., envelope: _Optional[bytes] = ...) -> None: ...

class GroupTold(_message.Message):
    __slots__ = ("name", "gone", "serial", "version", "content_digest", "envelope", "blobs", "objects", "objects_digest", "guarded", "minimum_serial")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    GUARDED_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_SERIAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    gone: bool
    serial: int
    version: int
    content_digest: str
    envelope: bytes
    blobs: _containers.RepeatedScalarFieldContainer[str]
    objects: _containers.RepeatedCompositeFieldContainer[ObjectTold]
    objects_digest: bytes
    guarded: _containers.RepeatedScalarFieldContainer[str]
    minimum_serial: int
    def __init__(self, name: _Optional[str] = ..., gone: _Optional[bool] = ..., serial: _Optional[int] = ..., version: _Optional[int] = ..., content_digest: _Optional[str] = ..., envelope: _Optional[bytes] = ..., blobs: _Optional[_Iterable[str]] = ..., objects: _Optional[_Iterable[_Union[ObjectTold, _Mapping]]] = ..., objects_digest: _Optional[bytes] = ..., guarded: _Optional[_Iterable[str]] = ..., minimum_serial: _Optional[int] = ...) -> None: ...

class ObjectTold(_message.Message):
    __slots__ = ("key", "content_type", "body")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    key: str
    content_type: str
    body: bytes
    def __init__(self, key: _Optional[str] = ..., content_type: _Optional[str] = ..., body: _Optional[bytes] = ...) -> None: ...

class PlaceTold(_message.Message):
    __slots__ = ("name", "gone", "key", "url", "tls", "http_proxy", "password", "ca", "proxy")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    HTTP_PROXY_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    CA_FIELD_NUMBER: _ClassVar[int]
    PROXY_FIELD_NUMBER: _ClassVar[int]
    name: str
    gone: bool
    key: bytes
    url: str
    tls: str
    http_proxy: str
    password: str
    ca: str
    proxy: bytes
    def __init__(self, name: _Optional[str] = ..., gone: _Optional[bool] = ..., key: _Optional[bytes] = ..., url: _Optional[str] = ..., tls: _Optional[str] = ..., http_proxy: _Optional[str] = ..., password: _Optional[str] = ..., ca: _Optional[str] = ..., proxy: _Optional[bytes] = ...) -> None: ...

class Lack(_message.Message):
    __slots__ = ("sha256", "offset")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    offset: int
    def __init__(self, sha256: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class Body(_message.Message):
    __slots__ = ("sha256", "offset", "length", "data", "absent")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    offset: int
    length: int
    data: bytes
    absent: bool
    def __init__(self, sha256: _Optional[str] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., data: _Optional[bytes] = ..., absent: _Optional[bool] = ...) -> None: ...

class Carried(_message.Message):
    __slots__ = ("key", "stream", "frames", "now", "waiting")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    stream: str
    frames: bytes
    now: float
    waiting: int
    def __init__(self, key: _Optional[bytes] = ..., stream: _Optional[str] = ..., frames: _Optional[bytes] = ..., now: _Optional[float] = ..., waiting: _Optional[int] = ...) -> None: ...

class Stood(_message.Message):
    __slots__ = ("key", "standing")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    standing: Standing
    def __init__(self, key: _Optional[bytes] = ..., standing: _Optional[_Union[Standing, _Mapping]] = ...) -> None: ...

class RelayCall(_message.Message):
    __slots__ = ("id", "kind", "key", "address", "body", "via")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    VIA_FIELD_NUMBER: _ClassVar[int]
    id: int
    kind: str
    key: bytes
    address: str
    body: bytes
    via: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, id: _Optional[int] = ..., kind: _Optional[str] = ..., key: _Optional[bytes] = ..., address: _Optional[str] = ..., body: _Optional[bytes] = ..., via: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RelayReply(_message.Message):
    __slots__ = ("id", "body", "code", "problem", "hint", "status", "retry_after")
    ID_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    id: int
    body: bytes
    code: str
    problem: str
    hint: str
    status: int
    retry_after: float
    def __init__(self, id: _Optional[int] = ..., body: _Optional[bytes] = ..., code: _Optional[str] = ..., problem: _Optional[str] = ..., hint: _Optional[str] = ..., status: _Optional[int] = ..., retry_after: _Optional[float] = ...) -> None: ...

class MeetCall(_message.Message):
    __slots__ = ("certificate", "bearer")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    BEARER_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    bearer: str
    def __init__(self, certificate: _Optional[bytes] = ..., bearer: _Optional[str] = ...) -> None: ...

class AdmitCall(_message.Message):
    __slots__ = ("csr", "request", "walled")
    CSR_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    WALLED_FIELD_NUMBER: _ClassVar[int]
    csr: bytes
    request: bytes
    walled: bool
    def __init__(self, csr: _Optional[bytes] = ..., request: _Optional[bytes] = ..., walled: _Optional[bool] = ...) -> None: ...

class Admitted(_message.Message):
    __slots__ = ("admission", "certificate", "ca", "assignment", "retry_after", "text", "agent")
    ADMISSION_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CA_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    admission: str
    certificate: bytes
    ca: bytes
    assignment: bytes
    retry_after: float
    text: str
    agent: AgentTold
    def __init__(self, admission: _Optional[str] = ..., certificate: _Optional[bytes] = ..., ca: _Optional[bytes] = ..., assignment: _Optional[bytes] = ..., retry_after: _Optional[float] = ..., text: _Optional[str] = ..., agent: _Optional[_Union[AgentTold, _Mapping]] = ...) -> None: ...

class OutputCall(_message.Message):
    __slots__ = ("sha256", "body")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    body: bytes
    def __init__(self, sha256: _Optional[str] = ..., body: _Optional[bytes] = ...) -> None: ...

class OtlpCall(_message.Message):
    __slots__ = ("stream", "body", "is_json", "token")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    IS_JSON_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    stream: str
    body: bytes
    is_json: bool
    token: str
    def __init__(self, stream: _Optional[str] = ..., body: _Optional[bytes] = ..., is_json: _Optional[bool] = ..., token: _Optional[str] = ...) -> None: ...

class OtlpAnswer(_message.Message):
    __slots__ = ("rejected", "why")
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    rejected: int
    why: str
    def __init__(self, rejected: _Optional[int] = ..., why: _Optional[str] = ...) -> None: ...

class FoundCall(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class StandingCall(_message.Message):
    __slots__ = ("stream", "epoch")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    stream: str
    epoch: int
    def __init__(self, stream: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class Wake(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
