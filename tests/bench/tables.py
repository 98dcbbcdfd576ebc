"""Rounds of measures, and their medians as tables."""
import statistics


def prefetch_options(prefetch):
    return ["-c", "2", "--prefetch-multiplier", str(prefetch // 2)]


def median_rows(kinds, rounds, measure):
    """{kind name: {figure: median}}; the kinds take turns within each round."""
    seen = {kind.name: [] for kind in kinds}
    for number in range(rounds):
        for kind in kinds:
            figures = measure(kind)
            seen[kind.name].append(figures)
            print(f"  round {number + 1} {kind.name}: "
                  + ", ".join(f"{k} {v:.4g}" if v is not None else f"{k} -"
                              for k, v in figures.items()), flush=True)
    result = {}
    for name, runs in seen.items():
        result[name] = {}
        for figure in runs[0]:
            values = [run[figure] for run in runs if run[figure] is not None]
            result[name][figure] = (statistics.median(values) if values else None,
                                    min(values, default=None), max(values, default=None))
    return result


def show(value, digits=4):
    if value is None or value[0] is None:
        return "-"
    low, high = value[1], value[2]
    if low == high:
        return f"{value[0]:.{digits}g}"
    return f"{value[0]:.{digits}g} ({low:.{digits}g}–{high:.{digits}g})"


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def ratio(a, b):
    return f"{a[0] / b[0]:.3g}" if a and b and a[0] and b[0] else "-"
