"""Parts of an object that are made when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

_Part = TypeVar("_Part")


class lazy(Generic[_Part]):
    """A property that is made once in its owner's life, whichever thread asks first.

    The owner has a lock `_loading` (an RLock: parts ask for parts). With `cached_property` of
    functools two threads may each make one (Python 3.12 and later). What was made stands in the
    owner's `__dict__`, under the property's name, and is found there without the lock.
    """

    def __init__(self, make: Callable[[Any], _Part]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> lazy[_Part]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> _Part: ...
    def __get__(self, owner: Any, kind: type) -> lazy[_Part] | _Part:
        if owner is None:
            return self
        with owner._loading:
            made = vars(owner)
            if self._name not in made:
                made[self._name] = self._make(owner)
            part: _Part = made[self._name]
            return part

    if TYPE_CHECKING:
        # Anybody may put another in its place: it goes to the owner's `__dict__`.
        def __set__(self, owner: object, part: _Part) -> None: ...
