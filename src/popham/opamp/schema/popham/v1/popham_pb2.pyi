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
    __slots__ = ("generation", "retry_window_seconds", "assignment", "want_bundle", "check_in", "text", "stretch_seconds", "operations", "heard", "want_outputs")
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
    def __init__(self, generation: _Optional[int] = ..., retry_window_seconds: _Optional[float] = ..., assignment: _Optional[bytes] = ..., want_bundle: _Optional[bool] = ..., check_in: _Optional[bool] = ..., text: _Optional[str] = ..., stretch_seconds: _Optional[float] = ..., operations: _Optional[_Iterable[bytes]] = ..., heard: _Optional[_Iterable[str]] = ..., want_outputs: _Optional[_Iterable[str]] = ...) -> None: ...

class Enroll(_message.Message):
    __slots__ = ("generation", "token_id", "signature", "name", "labels")
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
    generation: int
    token_id: str
    signature: bytes
    name: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, generation: _Optional[int] = ..., token_id: _Optional[str] = ..., signature: _Optional[bytes] = ..., name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

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
    __slots__ = ("stream", "epoch", "newest", "next", "last", "ranges", "boots", "credit", "retry_after_seconds", "refused")
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
    def __init__(self, stream: _Optional[str] = ..., epoch: _Optional[int] = ..., newest: _Optional[int] = ..., next: _Optional[int] = ..., last: _Optional[bytes] = ..., ranges: _Optional[_Iterable[_Union[StreamRange, _Mapping]]] = ..., boots: _Optional[_Iterable[_Union[StreamBoot, _Mapping]]] = ..., credit: _Optional[int] = ..., retry_after_seconds: _Optional[float] = ..., refused: _Optional[bool] = ...) -> None: ...

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
