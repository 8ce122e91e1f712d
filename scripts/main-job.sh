# Sourced by the quickstart and by the tests of the images: the main job on real data, against the branch service
# of $ARGON_ENDPOINT, with the CLI in $bin (or whatever else `argon` does); its files go to the folder $state.
#
#   main_job         imports, branches, diverges; notes what then holds
#   main_job_holds   that it still does

# show COMMAND...: prints the command as a reader would type it, then runs it
show() {
  local word
  printf '\n$ argon'
  for word in "$@"; do
    case $word in *[^a-zA-Z0-9_./:=-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
  done
  echo
  argon "$@"
}
argon() { "$bin/argon" "$@"; }

expect() { # WHAT EXPECTED ACTUAL
  [ "$2" = "$3" ] || die "$1: expected '$2' and found '$3'"
}

checks() { # everything that must hold, as one text
  argon docs find -p world -b what-if countries '{"_id":"CH"}' -o ndjson
  argon docs find -p world -b main countries '{"_id":"CH"}' -o ndjson
  argon docs find -p world -b what-if countries '{"_id":"CH"}' --at-lsn "$before" -o ndjson
  for branch in main what-if; do
    for collection in languages countries subdivisions; do
      echo "$branch $collection $(argon docs count -p world -b $branch $collection -o json | jq .count)"
    done
  done
}

main_job() {
  say "importing what Debian knows of the world (package iso-codes) into project 'world'"
  if argon projects get world >/dev/null 2>&1; then
    echo "project 'world' is there from an earlier run: deleting it first"
    argon projects delete world --yes
  fi
  show projects create world
  iso=/usr/share/iso-codes/json
  jq -c '."639-3"[] | {_id: .alpha_3} + del(.alpha_3)' $iso/iso_639-3.json >"$state/languages.ndjson"
  jq -c '."3166-1"[] | {_id: .alpha_2} + del(.alpha_2)' $iso/iso_3166-1.json >"$state/countries.ndjson"
  jq -c '."3166-2"[] | {_id: .code} + del(.code)' $iso/iso_3166-2.json >"$state/subdivisions.ndjson"
  cd "$state"
  show import languages.ndjson -p world -b main -c languages
  show import countries.ndjson -p world -b main -c countries
  show import subdivisions.ndjson -p world -b main -c subdivisions
  show collections list -p world -b main

  languages=$(argon docs count -p world languages -o json | jq .count)
  expect "languages imported" "$(wc -l <"$state/languages.ndjson")" "$languages"

  say "a branch: created in about a millisecond, whatever the size of the data"
  show branches create what-if -p world
  before=$(argon branches get what-if -p world -o json | jq .head_lsn)

  say "the branch diverges; main does not notice"
  show docs update -p world -b what-if countries '{"_id":"CH"}' '{"$set":{"name":"Helvetia","population":{"$numberLong":"8700000"}}}'
  show docs delete -p world -b what-if languages '{"scope":"S"}' --many
  show docs insert -p world -b what-if countries '{"_id":"XA","name":"Atlantis"}'
  show docs find -p world -b what-if countries '{"_id":"CH"}'
  show docs find -p world -b main countries '{"_id":"CH"}'

  say "the past of the branch: what it was at LSN $before, before the changes"
  show docs find -p world -b what-if countries '{"_id":"CH"}' --at-lsn "$before"
  show docs count -p world -b what-if languages
  show docs count -p world -b what-if languages --at-lsn "$before"

  checks >"$state/before.txt"
  expect "the changed name" Helvetia "$(head -n 1 "$state/before.txt" | jq -r .name)"
  expect "main's name" Switzerland "$(sed -n 2p "$state/before.txt" | jq -r .name)"
  expect "the past name" Switzerland "$(sed -n 3p "$state/before.txt" | jq -r .name)"
}

main_job_holds() {
  checks >"$state/after.txt"
  cmp "$state/before.txt" "$state/after.txt" || die "the data differs after the restart"
  cat "$state/after.txt"
  echo "nothing is missing"
}
