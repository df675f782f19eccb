"""Meaning as a process takes part in it: by asking the keeper, else with a model of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from avm.api.embedding import INSTALL_HINT
from avm.api.waiting import Waiting
from avm.base import log
from avm.base.config import Config, hub_cache, model_home
from avm.base.errors import IndexDamagedError, ModelError, RepositoryError
from avm.embed.model_folder import MODEL_ID, find_model_folder, semantic_installed
from avm.vault.location import Vault

if TYPE_CHECKING:
    from avm.embed.protocol import Embedder
    from avm.index.index import Index
    from avm.index.text import Filter

#: What a recall waits for its query's vector before it ranks by text.
IMPATIENT_SECONDS = 0.15
#: Loading the model takes about 6 s on two cores; ten times that is no machine worth waiting for.
_PATIENT_SECONDS = 60.0
#: Of a question's time, what the keeper gets for the vector; the rest is for ranking and the way.
_EMBEDDING_SHARE = 0.75
#: The mode `wait` first embeds what is missing if it is at most this much: some 4 s. More is the
#: business of `avm index --wait`.
WORTH_EMBEDDING = 256
_LOOK_SECONDS = 0.2

#: Cosines by chunk id of the passages nearest to a question: asked with a filter, how many, and
#: which chunks besides. None: meaning takes no part after all.
Near = Callable[["Filter", int, Sequence[int]], "Mapping[int, float] | None"]
_Near = Callable[["Filter", int, Sequence[int]], "Mapping[int, float]"]


class Asks(Protocol):
    """The keeper, as far as meaning is concerned."""

    def ask(self, op: str, *, timeout: float, **fields: Any) -> dict[str, Any] | None:
        """The answer to `op`; None if there is no keeper, or none that answers in time."""
        ...


class Semantic:
    """Meaning in one vault. The model is never in this process, and mostly not even its child."""

    def __init__(
        self,
        vault: Vault,
        config: Config,
        index: Index,
        waiting: Waiting,
        keeper: Asks | None = None,
    ) -> None:
        """`keeper` is who answers for the vault's keeper; None: there can be none."""
        self._mode: str = config["semantic"]
        self._configured: Path | None = config["model"]
        self._index = index
        self._waiting = waiting
        self._keeper = keeper
        #: A program that stays, and nobody starts a keeper for it: its own model is all it can get.
        self._must_do_without = waiting is Waiting.LIBRARY and not config["keeper.autostart"]
        self._log_file = vault.state_dir / "model.log"
        self._guard = threading.Lock()
        self._embedder: Embedder | None = None
        self._said = threading.local()

    @property
    def why_off(self) -> str | None:
        """Why meaning took no part in this thread's last question; None if it did."""
        why: str | None = getattr(self._said, "why", None)
        return why

    def describe(self, told: Mapping[str, Any] | None) -> str:
        """One line on whether meaning takes part, and what to do if it does not; `told`: the
        keeper's `status`, None if there is none."""
        if self._mode == "off":
            return "off (configured)"
        if not semantic_installed():
            return INSTALL_HINT
        state = _embedding(told)
        if state is not None:
            problem = state.get("problem")
            return f"off ({problem})" if problem else f"{MODEL_ID} in the keeper"
        try:
            return f"{MODEL_ID} in {self._model_folder()}"
        except ModelError as err:
            return str(err)

    def near(self, text: str, *, patient: bool = False) -> Near | None:
        """Who tells the passages near to `text` in meaning, None if nobody can; `why_off` says why.

        What it answers may be None as well. `patient` has what the mode `wait` always has: it waits
        for the model, loads it in this process where there is no keeper, and has what is new
        embedded first. Otherwise it takes 0.15 s at most, as it always does in a mount: the kernel
        holds a folder meanwhile.
        """
        forced = (patient or self._mode == "wait") and self._waiting is not Waiting.MOUNT
        seconds = _PATIENT_SECONDS if forced else IMPATIENT_SECONDS
        keeper = self._keeper
        try:
            if self._mode == "off":
                raise _Off("configured")
            if keeper is None:
                near = self._without_keeper(text, seconds, forced=forced, fill=forced)
            else:
                near = self._with_keeper(keeper, text, seconds, forced=forced)
        except _Off as off:
            self._said.why = f"off ({off})"
            return None
        self._said.why = None

        def asked(where: Filter, limit: int, also: Sequence[int]) -> Mapping[int, float] | None:
            try:
                return near(where, limit, also)
            except _Off as off:
                self._said.why = f"off ({off})"
                return None

        return asked

    def embed_missing(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Compute the vectors that are missing, newest first; the keeper's work where there is one.

        Raises ModelError.
        """
        report = progress or (lambda have, total: None)
        if self._keepers_state() is not None and self._watch_keeper(report):
            return
        if not semantic_installed():
            raise ModelError(INSTALL_HINT)
        from avm.api.embedding import Filling

        vectors, embedder = self._index.vectors, self._model()
        filling = Filling(vectors, embedder)
        have, total = vectors.progress(embedder.model_id)
        report(have, total)
        while done := filling.window():
            have += done
            report(min(have, total), total)
        report(*vectors.progress(embedder.model_id))
        vectors.compact(embedder.model_id)

    def progress(self) -> tuple[int, int]:
        """(passages with a vector, passages), as the index was last brought up to date."""
        return self._index.vectors.progress(MODEL_ID)

    def use(self, embedder: Embedder) -> None:
        """Embed with this one where it would start its own; `close` closes it."""
        with self._guard:
            self._embedder = embedder

    def close(self) -> None:
        """End the worker, if this process has one."""
        with self._guard:
            embedder, self._embedder = self._embedder, None
        if embedder:
            embedder.close()

    # Through the keeper

    def _with_keeper(self, keeper: Asks, text: str, seconds: float, *, forced: bool) -> _Near:
        def near(where: Filter, limit: int, also: Sequence[int]) -> Mapping[int, float]:
            try:
                return self._ask(keeper, text, where, limit, also, seconds)
            except _Off:
                if not forced and not self._must_do_without:
                    raise
            # In the middle of a question's snapshot nothing new can be embedded for it.
            near = self._without_keeper(text, seconds, forced=forced, fill=False)
            return near(where, limit, also)

        return near

    def _ask(
        self,
        keeper: Asks,
        text: str,
        where: Filter,
        limit: int,
        also: Sequence[int],
        seconds: float,
    ) -> Mapping[int, float]:
        """The keeper's answer in terms of this index: it may have seen a newer one, in which the
        same chunk ids are other passages, so content keys go over the wire. Raises _Off."""
        vectors = self._index.vectors
        keys = vectors.keys_of(also)
        began = time.monotonic()
        told = keeper.ask(
            "nearest",
            timeout=seconds,
            text=text,
            where=where.as_json(),
            limit=limit,
            also=[key.hex() for key in set(keys.values())],
            wait=seconds * _EMBEDDING_SHARE,
        )
        if told is None:
            late = time.monotonic() - began >= seconds * 0.9
            raise _Off(f"no answer in {seconds * 1000:.0f} ms" if late else "no keeper")
        if "hits" not in told:
            raise _Off(str(told.get("off") or told.get("error") or "no answer"))
        cosines = {bytes.fromhex(key): cosine for key, cosine in told["hits"]}
        return vectors.by_content(cosines, where, limit, keys)

    def _keepers_state(self) -> dict[str, Any] | None:
        """What the keeper says of its embedding: `have`, `total`, `problem`."""
        keeper = self._keeper
        return _embedding(keeper.ask("status", timeout=2.0) if keeper is not None else None)

    def _watch_keeper(self, report: Callable[[int, int], None]) -> bool:
        """Wait until the keeper has embedded everything; False if it ends before.

        Raises ModelError when it says that it cannot.
        """
        while (told := self._keepers_state()) is not None:
            have, total = int(told["have"]), int(told["total"])
            report(have, total)
            if have >= total:
                return True
            if told.get("problem"):
                raise ModelError(str(told["problem"]))
            time.sleep(_LOOK_SECONDS)
        return False

    # With a worker of this process

    def _without_keeper(self, text: str, seconds: float, *, forced: bool, fill: bool) -> _Near:
        """Rank here. `fill`: embed what is new first, if it is little. Raises _Off."""
        if not semantic_installed():
            raise _Off(INSTALL_HINT)
        if self._waiting is not Waiting.LIBRARY and not forced:
            raise _Off("no keeper")
        try:
            if fill:
                self._embed_few()
            if not self._index.vectors.any_of(MODEL_ID):
                raise _Off("no passage is embedded yet: avm index --wait")
            embedder = self._model()
            (vector,) = embedder.embed([text], timeout=seconds)
        except (ModelError, RepositoryError) as err:
            told = log.logger(__name__)
            (told.warning if forced else told.info)("ranked by text: %s", err)
            raise _Off(short(err)) from None
        return partial(self._index.nearest, vector, embedder.model_id)

    def _embed_few(self) -> None:
        from avm.index.database import IndexThrownAway

        try:
            embedded, passages = self._index.vectors.progress(MODEL_ID)
            if 0 < passages - embedded <= WORTH_EMBEDDING:
                self.embed_missing()
        except IndexThrownAway:
            raise
        except IndexDamagedError as err:
            # A full disk keeps no vectors, and no question from its answer.
            log.logger(__name__).warning("%s", err)

    def _model(self) -> Embedder:
        from avm.embed.worker_client import WorkerEmbedder

        with self._guard:
            if self._embedder is None:
                self._embedder = WorkerEmbedder(self._model_folder(), log_file=self._log_file)
            return self._embedder

    def _model_folder(self) -> Path:
        return find_model_folder(self._configured, hub_cache(), model_home())


def _embedding(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the keeper's `status` says of its embedding: `have`, `total`, `problem`."""
    state = (told or {}).get("meaning")
    return state if isinstance(state, dict) else None


class _Off(Exception):
    """Why meaning takes no part in an answer."""


def short(err: Exception) -> str:
    """The reason in an error, as it stands in `off (…)`."""
    return str(err).replace("the embedding model is still loading", "the model is still loading")
