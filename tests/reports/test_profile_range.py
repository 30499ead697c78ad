import math

from napari_hrpn.reports import furthest_shown


def test_a_profile_is_drawn_to_the_last_shell_with_more_than_a_thousandth_of_the_pixels() -> None:
    shells = [(5.0, 900), (10.0, 98), (15.0, 2), (20.0, 0), (25.0, 1), (30.0, 1)]
    assert furthest_shown(shells) == 15
    # a report leaves empty shells out
    assert furthest_shown([shell for shell in shells if shell[1]]) == 15
    assert furthest_shown([]) == furthest_shown([(5.0, 0)]) == math.inf
