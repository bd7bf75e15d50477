#!/bin/sh
# Two parties on this machine: a process each, their own tables, TLS between them.
#
#   specs/deepfm/two_parties.sh [FOLDER [OPTION...]]
#
# FOLDER (build/two_parties) gets everything: the data, the certificates, deploy.toml, the runs and
# the logs. Options go to both parties, as in `--epochs 2 --batch 256`. Without TABLES, a folder
# with alice.parquet and bob.parquet as prepare.py writes them, ROWS (20000) rows are made up.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tables=${TABLES:+$(cd "$TABLES" && pwd)}
folder=${1:-build/two_parties}
[ $# -eq 0 ] || shift
mkdir -p "$folder"
cd "$folder"

[ -n "$tables" ] || python3 "$here/prepare.py" --generate "${ROWS:-20000}" --out data
[ -e certs ] || vflc certs --out certs alice bob
vflc compile "$here/deepfm.vfl" -o bundle > compile.log

cat > deploy.toml << END
timeout = 60

[parties.alice]
address = "127.0.0.1:${PORT:-7443}"
certificate = "certs/alice.pem"
key = "certs/alice.key"

[parties.bob]
certificate = "certs/bob.pem"
key = "certs/bob.key"

[tls]
authority = "certs/authority.pem"
END

# On two machines, each runs its own line. Tables may lie anywhere, so they are named here: deploy.toml names those
# beside it. Bob has the labels, so bob shows losses and metrics.
vflc party alice bundle --deploy deploy.toml --data "${tables:-data}/alice.parquet" --out alice --overwrite "$@" \
  > alice.log 2>&1 &
alice=$!
trap 'kill $alice 2> /dev/null || true' EXIT
vflc party bob bundle --deploy deploy.toml --data "${tables:-data}/bob.parquet" --out bob --overwrite "$@"
wait $alice || { code=$?; cat alice.log >&2; exit $code; }
trap - EXIT
echo "alice's own output is in $folder/alice.log"
