#!/bin/sh
# Runs a load test under observer, and fails when a fault line of the host was hit.
#
#   load-test.sh [OPTION OF observer run]... -- COMMAND [ARGUMENT]...
#   load-test.sh --target :8080 -- k6 run script.js
#
# Its exit status is that of `observer run`:
#   0         the load test passed, and nothing broke
#   3         the load test passed, but a fault line was hit (with `--fail-on inconclusive`: or too much could not be seen)
#   125       observer failed: nothing is known of the host
#   126, 127  the load test cannot be executed, is not there
#   others    the load test's own, 3 and 125 to 127 included: the last line says whose it is
#
# OBSERVER is the program (observer), RESULTS the folder (observer-results) that this leaves to be kept:
#   verdict.md  verdict.json  report.html  run.observer

set -eu

observer=${OBSERVER:-observer}
results=${RESULTS:-observer-results}
recording=$results/run.observer

say() {
    echo "load-test: $1" >&2
    if [ "${GITHUB_ACTIONS:-}" = true ] && [ "$status" -ne 0 ]; then
        echo "::error title=observer::$(echo "$1" | sed 's/%/%25/g')"
    fi
}

status=125
if ! command -v "$observer" >/dev/null; then
    say "there is no $observer: put it into PATH, or name it in OBSERVER"
    exit $status
fi
case " $* " in
*' -- '*) ;;
*)
    say "usage: $0 [OPTION OF observer run]... -- COMMAND [ARGUMENT]..."
    exit $status
    ;;
esac

mkdir -p "$results"
rm -f "$results/verdict.md" "$results/verdict.json" "$results/report.html" "$recording" "$recording-wal" "$recording-shm"

status=0
"$observer" run --fail-on hit --format markdown --output "$results/verdict.md" --record "$recording" "$@" || status=$?

# What the command itself returned stands in the verdict: 3 may be observer's or its own.
first_line=''
own=''
if [ -s "$results/verdict.md" ]; then
    first_line=$(sed -n '1s/\*\*//gp' "$results/verdict.md")
    "$observer" report "$recording" --format html --output "$results/report.html" || status=125
    "$observer" report "$recording" --format json --output "$results/verdict.json" || status=125
    own=$(sed -n 's/^ *"exit_status": \([0-9]*\),*$/\1/p' "$results/verdict.json" || true)
fi

if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -n "$first_line" ]; then
    cat "$results/verdict.md" >>"$GITHUB_STEP_SUMMARY"
fi

if [ -z "$first_line" ]; then
    case $status in
    126 | 127) say "the load test could not be started ($status)" ;;
    *) say "observer failed ($status); its words are above" ;;
    esac
elif [ "$status" -eq 0 ]; then
    say "passed. $first_line"
elif [ "$own" = 0 ] && [ "$status" -eq 3 ]; then
    say "the load test passed, the host did not. $first_line"
elif [ "$status" -eq 125 ] && [ "$own" != 125 ]; then
    say "observer failed (125) after the load test had ended; its words are above"
else
    say "the load test failed by itself ($status). $first_line"
fi
exit "$status"
