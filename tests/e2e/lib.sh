# lib.sh - what the end-to-end scripts share: entering the container, asking the bridge, saying what failed.
# shellcheck shell=sh

url=http://127.0.0.1:$AIRLOCK_PORT

fail() { echo "not ok: $*" >&2; exit 1; }

inside() { # a command in the container, stdin passed on
    case $AIRLOCK_RUNTIME in
    sandbox) container/sandbox exec "$AIRLOCK_NAME" "$@" ;;
    *) "$AIRLOCK_RUNTIME" exec -i "$AIRLOCK_NAME" "$@" ;;
    esac
}

# Path and body: prints the status, then the body, on lines of their own.
post() {
    curl -sS -o /tmp/airlock-e2e.$$ -w '%{http_code} %{content_type}\n' "$url$1" \
        -H 'Content-Type: application/json' -d "$2"
    cat /tmp/airlock-e2e.$$
    rm -f /tmp/airlock-e2e.$$
}

# What a client of the original sends: nulls left out.
question() { # text
    printf '{"model":"Phi4MiniInstruct","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"%s"}],"container_name":"%s","parameters":{"do_sample":false,"max_new_tokens":1024}}' "$1" "$AIRLOCK_NAME"
}

# A question whose answer takes a second or more: rewards for repeating itself keep the model from its end token.
# shellcheck disable=SC2034 # for those who source this
long_question='{"model":"Phi4MiniInstruct","messages":[{"role":"user","content":"the the the the the the"}],"container_name":"'$AIRLOCK_NAME'","parameters":{"do_sample":false,"repetition_penalty":0.7,"frequency_penalty":-2.0,"max_new_tokens":3500}}'

metric() { # name, pattern of labels: the server's own number, asked inside the container
    printf 'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nConnection: close\r\n\r\n' |
        inside airlock-client --relay | tr -d '\r' |
        awk -v m="$1" -v l="${2:-}" '($1 == m || index($1, m "{") == 1) && $0 ~ l { s += $NF } END { print s + 0 }'
}

stopped() { metric airlock_requests_total 'status="499"'; } # requests whose caller went away in mid-answer

until_is() { # what value command...: waits up to 10 s
    what=$1 wanted=$2 n=0
    shift 2
    until [ "$("$@")" = "$wanted" ]; do
        n=$((n + 1))
        [ $n -lt 100 ] || fail "$what: $("$@") instead of $wanted after 10 s"
        sleep 0.1
    done
}
