"""The label of a worker: the proxy and the worker compute the same one."""

from realtime.transports.affinity import LABEL_LENGTH, worker_label

ADDRESSES = [("127.0.0.1", 6001), ("127.0.0.1", 6002), ("10.0.0.1", 6001), ("::1", 6001)]


def test_each_address_has_its_own_label() -> None:
    labels = {worker_label(*address) for address in ADDRESSES}
    assert len(labels) == len(ADDRESSES)
    assert {len(label) for label in labels} == {LABEL_LENGTH}


def test_a_label_never_changes() -> None:
    assert worker_label("127.0.0.1", 6001) == "c45cda"  # nginx configurations contain it


def test_one_address_has_one_label_however_it_is_written() -> None:
    assert worker_label("0:0::1", 6001) == worker_label("::1", 6001)
