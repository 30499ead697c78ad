"""Settings of hypothesis: the same examples in each run, and no limit on the time of one."""

from hypothesis import HealthCheck, settings


def steady(examples: int = 30) -> settings:
    return settings(
        derandomize=True,
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
