"""The contract of an object store; see :class:`~flask_resumable.storage.multipart.ObjectStore`."""

from __future__ import annotations

import io
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from datetime import timedelta
from datetime import UTC

import pytest

from ..storage.multipart import Missing
from ..storage.multipart import ObjectInfo
from ..storage.multipart import ObjectStore
from ..storage.multipart import PartsChanged
from ..storage.multipart import PartsRefused
from ..storage.multipart import Taken
from ..storage.multipart.buffer import StreamSlice

WRITERS = 8  # in parallel
SKEW = timedelta(minutes=15)  # the difference that is tolerated between the clocks


class ObjectStoreContract:
    """Tests an object store. Subclass it and override the fixture ``store``."""

    @pytest.fixture
    def store(self) -> ObjectStore:
        """The store under test. It has no keys below ``prefix``."""
        raise NotImplementedError("Override the fixture 'store' in your test class.")

    @pytest.fixture
    def prefix(self) -> str:
        """The prefix of all keys that this test uses."""
        return f"contract/{secrets.token_hex(8)}/"

    @pytest.fixture
    def pieces(self, store: ObjectStore) -> list[bytes]:
        """Parts of an upload. Only the last one is small."""
        return [b"a" * store.traits.min_part, b"b" * store.traits.min_part, b"c"]

    # --- objects ---

    def test_what_is_put_can_be_read(self, store: ObjectStore, prefix: str) -> None:
        """Bytes and streams can be put, and read as a whole or in ranges."""
        store.put(f"{prefix}bytes", b"0123456789")
        store.put(f"{prefix}stream", StreamSlice(io.BytesIO(b"--0123456789--"), 10, 2))
        for key in (f"{prefix}bytes", f"{prefix}stream"):
            assert store.read(key) == b"0123456789"
            assert store.get(key, 0, 10) == b"0123456789"
            assert store.get(key, 3, 5) == b"34"
            assert _got(store, key, 3, 10) == b"3456789"
            assert _got(store, key, 3, 3) == b""
            assert store.size(key) == 10
            info = store.head(key)
            assert info is not None and info.size == 10 and dict(info.metadata) == {}

    def test_what_is_not_there_is_missing(self, store: ObjectStore, prefix: str) -> None:
        """A missing object, and bytes after the end of one, raise an error."""
        with pytest.raises(Missing):
            store.read(f"{prefix}a")
        with pytest.raises(Missing):
            store.get(f"{prefix}a", 0, 1)
        assert store.head(f"{prefix}a") is None
        assert store.size(f"{prefix}a") is None
        store.put(f"{prefix}a", b"01234")
        for start, stop in ((3, 6), (5, 6), (7, 9)):
            with pytest.raises(Missing):
                store.get(f"{prefix}a", start, stop)
            with pytest.raises(Missing):
                _got(store, f"{prefix}a", start, stop)

    def test_an_empty_object_is_an_object(self, store: ObjectStore, prefix: str) -> None:
        """An empty object exists and has the size 0."""
        store.put(f"{prefix}a", b"")
        assert store.size(f"{prefix}a") == 0
        assert store.read(f"{prefix}a") == b""

    def test_an_object_is_replaced_unless_it_is_to_be_new(self, store: ObjectStore, prefix: str) -> None:
        """A second put replaces the object, unless it requires that the object is new."""
        store.put(f"{prefix}a", b"first")
        store.put(f"{prefix}a", b"second")
        if store.traits.puts_only_new:
            with pytest.raises(Taken):
                store.put(f"{prefix}a", b"third", only_new=True)
        assert store.read(f"{prefix}a") == b"second"

    def test_one_of_several_writers_makes_a_new_object(self, store: ObjectStore, prefix: str) -> None:
        """Of several writers that create the same key, exactly one is told that it succeeded."""
        if not store.traits.puts_only_new:
            pytest.skip("this store cannot refuse to replace an object")

        def write(number: int) -> int | None:
            try:
                store.put(f"{prefix}a", f"{number}".encode(), only_new=True)
            except Taken:
                return None
            return number

        with ThreadPoolExecutor(WRITERS) as threads:
            written = [number for number in threads.map(write, range(WRITERS)) if number is not None]
        assert len(written) == 1
        assert store.read(f"{prefix}a") == f"{written[0]}".encode()

    def test_objects_are_listed_by_key(self, store: ObjectStore, prefix: str) -> None:
        """A new object is listed at once, with its size, and only objects with the prefix are listed."""
        now = datetime.now(UTC)
        for name in ("b", "a/2", "a/1", "a-", "c"):
            store.put(f"{prefix}{name}", name.encode())
        store.delete(f"{prefix}c")
        store.delete(f"{prefix}c")
        listed = list(store.objects(prefix))
        assert [(entry.key.removeprefix(prefix), entry.size) for entry in listed] == [
            ("a-", 2),
            ("a/1", 3),
            ("a/2", 3),
            ("b", 1),
        ]
        assert all(abs(entry.modified - now) < SKEW for entry in listed)
        assert [entry.key.removeprefix(prefix) for entry in store.objects(f"{prefix}a/")] == ["a/1", "a/2"]

    def test_a_copy_has_what_is_said_of_it(self, store: ObjectStore, prefix: str) -> None:
        """A copy has the metadata that were passed, and its source stays."""
        store.put(f"{prefix}a", b"0123")
        found = store.head(f"{prefix}a")
        assert found is not None
        store.put(f"{prefix}b", b"something else")
        store.copy(f"{prefix}b", f"{prefix}a", ObjectInfo(4, {"owner": "me"}, found.properties))
        copied = store.head(f"{prefix}b")
        assert copied is not None
        assert (copied.size, dict(copied.metadata), copied.properties) == (4, {"owner": "me"}, found.properties)
        assert store.read(f"{prefix}b") == store.read(f"{prefix}a") == b"0123"
        with pytest.raises(Missing):
            store.copy(f"{prefix}c", f"{prefix}nothing", ObjectInfo())

    def test_an_object_has_what_is_said_of_it(self, store: ObjectStore, prefix: str) -> None:
        """It has its metadata, whether it was written in one request or in parts."""
        info = ObjectInfo(metadata={"owner": "me"}, content_type="text/csv", content_disposition="attachment")
        store.put(f"{prefix}a", b"0123", info=info)
        multipart_id = store.begin(f"{prefix}b", info)
        tag = store.put_part(f"{prefix}b", multipart_id, 1, b"0123")
        store.complete(f"{prefix}b", multipart_id, [tag], info)
        found = [store.head(f"{prefix}{name}") for name in ("a", "b")]
        assert [None if one is None else (one.size, dict(one.metadata)) for one in found] == [(4, {"owner": "me"})] * 2
        assert found[0] == found[1]

    def test_a_place_is_told_without_asking(self, store: ObjectStore, prefix: str) -> None:
        """The location of an object and a link to it do not depend on whether it exists."""
        assert f"{prefix}a" in store.location(f"{prefix}a")
        if store.traits.signs_links:
            assert "://" in store.link(f"{prefix}a", seconds=9, content_type="a/b", content_disposition="inline")

    # --- multipart uploads ---

    def test_parts_become_an_object(self, store: ObjectStore, prefix: str, pieces: list[bytes]) -> None:
        """Parts are joined in the order of their numbers, not of their arrival. Before that, there is no object."""
        key, said = f"{prefix}a", ObjectInfo(0, {"owner": "me"})
        multipart = store.begin(key, said)
        tags = {number: store.put_part(key, multipart, number, pieces[number - 1]) for number in (3, 1, 2)}
        there = store.parts(key, multipart)
        assert {number: (part.tag, part.size) for number, part in there.items()} == {
            number: (tags[number], len(pieces[number - 1])) for number in (1, 2, 3)
        }
        assert not any(tag.startswith("@") for tag in tags.values())
        assert store.size(key) is None
        assert [(entry.key, entry.id) for entry in store.multiparts(prefix)] == [(key, multipart)]
        store.complete(key, multipart, [tags[1], tags[2], tags[3]], said)
        assert store.read(key) == b"".join(pieces)
        info = store.head(key)
        assert info is not None and dict(info.metadata) == {"owner": "me"}
        assert not list(store.multiparts(prefix))

    def test_a_part_that_was_replaced_is_noticed(self, store: ObjectStore, prefix: str, pieces: list[bytes]) -> None:
        """A replaced part gets another tag. Completing with the old tag fails, or yields the old content."""
        key = f"{prefix}a"
        multipart = store.begin(key)
        former = store.put_part(key, multipart, 1, b"former")
        latter = store.put_part(key, multipart, 1, b"latter")
        assert former != latter
        assert store.parts(key, multipart)[1].tag == latter
        try:
            store.complete(key, multipart, [former])
        except PartsChanged:
            assert store.size(key) is None
            store.complete(key, multipart, [latter])
            assert store.read(key) == b"latter"
        else:
            assert store.read(key) == b"former"

    def test_a_part_that_is_not_there_is_noticed(self, store: ObjectStore, prefix: str, pieces: list[bytes]) -> None:
        """Completing with a missing part fails, and nothing is lost."""
        key = f"{prefix}a"
        multipart = store.begin(key)
        other = store.begin(key)
        foreign = store.put_part(key, other, 2, b"of another")
        tags = [store.put_part(key, multipart, 1, pieces[0])]
        with pytest.raises(PartsChanged):
            store.complete(key, multipart, [*tags, foreign])
        assert store.size(key) is None
        assert list(store.parts(key, multipart)) == [1]
        store.complete(key, multipart, tags)
        assert store.read(key) == pieces[0]

    def test_parts_that_are_not_named_are_dropped(self, store: ObjectStore, prefix: str, pieces: list[bytes]) -> None:
        """A part that is not listed at the completion leaves no trace."""
        key = f"{prefix}a"
        multipart = store.begin(key)
        tags = [store.put_part(key, multipart, number, piece) for number, piece in enumerate(pieces, 1)]
        store.complete(key, multipart, tags[:1])
        assert store.read(key) == pieces[0]
        assert not list(store.multiparts(prefix))

    def test_multipart_uploads_of_a_key_are_apart(self, store: ObjectStore, prefix: str, pieces: list[bytes]) -> None:
        """Parts of two uploads do not mix, and aborting one affects neither the other nor the existing object."""
        key = f"{prefix}a"
        store.put(key, b"object")
        one, other, third = store.begin(key), store.begin(key), store.begin(key)
        tag = store.put_part(key, one, 1, b"one")
        store.put_part(key, other, 1, b"other")
        assert [part.size for part in store.parts(key, one).values()] == [3]
        store.abort(key, third)
        assert {entry.id for entry in store.multiparts(prefix)} == {one, other}
        store.abort(key, other)
        store.abort(key, other)
        assert {entry.id for entry in store.multiparts(key)} <= {one}
        assert store.read(key) == b"object"
        if not store.traits.has_upload_ids:
            tag = store.put_part(key, one, 1, b"one")
        store.complete(key, one, [tag])
        assert store.read(key) == b"one"

    def test_a_multipart_upload_ends(self, store: ObjectStore, prefix: str) -> None:
        """A completed or aborted upload accepts no parts. If the store cannot refuse them, they can be removed."""
        key = f"{prefix}a"
        multipart, aborted = store.begin(key), store.begin(key)
        store.complete(key, multipart, [store.put_part(key, multipart, 1, b"content")])
        store.abort(key, aborted)
        for over in (multipart, aborted):
            if store.traits.has_upload_ids:
                with pytest.raises(Missing):
                    store.put_part(key, over, 1, b"late")
                with pytest.raises(Missing):
                    store.parts(key, over)
            else:
                store.put_part(key, over, 1, b"late")
                assert [entry.id for entry in store.multiparts(key)] == [over]
            store.abort(key, over)
        assert not list(store.multiparts(key))
        assert store.read(key) == b"content"

    def test_parts_are_copied(self, store: ObjectStore, prefix: str) -> None:
        """Parts are copied from any range of an object, but not beyond its end."""
        if not store.traits.copies_parts:
            pytest.skip("this store does not copy parts")
        size = max(store.traits.min_part, store.traits.min_part_copy)
        source, key = f"{prefix}source", f"{prefix}a"
        store.put(source, b"-" + b"a" * size + b"b" * size)
        multipart = store.begin(key)
        tags = [
            store.copy_part(key, multipart, number, source, (number - 1) * size + 1, number * size + 1)
            for number in (1, 2)
        ]
        assert [(part.tag, part.size) for _, part in sorted(store.parts(key, multipart).items())] == [
            (tag, size) for tag in tags
        ]
        store.complete(key, multipart, tags)
        assert store.read(key) == b"a" * size + b"b" * size
        with pytest.raises(Missing):
            store.copy_part(key, store.begin(key), 1, f"{prefix}nothing", 0, size)

    def test_parts_that_are_too_small_are_refused(self, store: ObjectStore, prefix: str) -> None:
        """Too small parts are refused, and nothing changes."""
        if store.traits.min_part == 1:
            pytest.skip("this store accepts parts of any size")
        key = f"{prefix}a"
        multipart = store.begin(key)
        tags = [store.put_part(key, multipart, number, b"x") for number in (1, 2)]
        with pytest.raises(PartsRefused):
            store.complete(key, multipart, tags)
        assert sorted(store.parts(key, multipart)) == [1, 2]
        assert store.size(key) is None


def _got(store: ObjectStore, key: str, start: int, stop: int) -> bytes:
    content = io.BytesIO()
    store.get_into(key, start, stop, content.write)
    return content.getvalue()
