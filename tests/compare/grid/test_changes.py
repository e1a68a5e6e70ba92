"""Pictures that changed for the better and for the worse, counted by hand."""

from showing import shown

from ablate2tune.compare.grid.changes import Changes, changes

ASKED = "left of"


def test_with_a_relation_it_must_be_right_and_without_one_the_objects():
    pairs = [  # asked, read before, read after, objects before, objects after
        (ASKED, ASKED, ASKED, True, True),  # right in both
        (ASKED, "behind", ASKED, True, True),  # better
        (ASKED, None, ASKED, False, True),  # better: an object had been missing
        (ASKED, ASKED, None, True, True),  # worse: cannot be read any more
        (ASKED, ASKED, ASKED, True, False),  # worse: an object is missing
        (ASKED, "behind", "right of", True, True),  # wrong in both, whatever it is now
        (None, "behind", None, True, True),  # no relation asked for: objects in both
        (None, None, None, True, False),  # worse
    ]
    before = [shown(asked, was, objects=had) for asked, was, _, had, _ in pairs]
    after = [shown(asked, now, objects=has) for asked, _, now, _, has in pairs]
    found = changes(before, after, related=True)
    assert found == Changes(stayed_right=1, better=2, worse=2, stayed_wrong=1)
    assert (found.before, found.after) == (3, 3)
    assert found.line("base", "tuned") == (
        "tuned: 3 of 6 pictures right (base: 3); better in 2, worse in 2"
    )
    assert changes(before, after, related=False) == Changes(1, 0, 1, 0)
