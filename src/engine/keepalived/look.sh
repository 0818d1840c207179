# Looks at keepalived on a node. A constant: what differs comes as words.
#   MARK addresses          what the interfaces carry
#   MARK daemon CONFIG      the same, the running daemons, what they say (JSON, else the data dump), sockets that listen
#   MARK files PATTERN...   files as they are, globs put in
#   MARK state FILE...      what tracked files hold, and whether they can be written
# Every part begins with a line MARK NAME [WORDS].
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
mark=$1
what=$2
shift 2
part() {
  printf '\n%s' "$mark"
  printf ' %s' "$@"
  echo
}

addresses() {
  part addresses
  ip -j addr show 2>&1
}

# The stamp of a file that changes with every dump.
stamp() { stat -L -c '%i %z %s' "$1" 2>/dev/null; }

# dump PID SIGNAL FILE KIND: asks, waits until the file is a new one and no longer grows, prints it.
dump() {
  before=$(stamp "$3")
  if ! kill -"$2" "$1" 2>/dev/null; then part refused "$1"; return 1; fi
  n=0
  while now=$(stamp "$3"); [ -z "$now" ] || [ "$now" = "$before" ]; do
    n=$((n + 1))
    if [ $n -ge 50 ]; then part silent "$1" "$4"; return 1; fi
    sleep 0.02
  done
  n=0
  while sleep 0.01; again=$(stamp "$3"); [ "$again" != "$now" ] && [ $n -lt 50 ]; do now=$again; n=$((n + 1)); done
  part dump "$1" "$4"
  cat "$3"
}

ask() {
  exe=/proc/$1/exe
  # The temporary folder is the daemon's own: its TMPDIR, in its own view of the file system.
  tmp=$( { tr '\0' '\n' <"/proc/$1/environ" | sed -n 's/^TMPDIR=//p'; } 2>/dev/null)
  root=/proc/$1/root${tmp:-/tmp}
  part tmp "$1" "${tmp:-/tmp}"
  part version "$1"
  "$exe" -v 2>&1
  # Only what the running program itself calls JSON is sent: an unhandled real-time signal would end it.
  json=$("$exe" --signum=JSON 2>/dev/null) || json=
  case $json in
    *[!0-9]* | '') ;;
    *) dump "$1" "$json" "$root/keepalived.json" json && return ;;
  esac
  dump "$1" USR1 "$root/keepalived.data" data
}

daemons() {
  mine=$(readlink /proc/self/ns/net)
  all=' '
  for d in /proc/[0-9]*; do
    { read -r name <"$d/comm"; } 2>/dev/null || continue
    case $name in keepalived*) ;; *) continue ;; esac
    # What has ended and is not yet reaped has no command line any more.
    [ -n "$(head -c 1 "$d/cmdline" 2>/dev/null | tr '\0' x)" ] || continue
    theirs=$(readlink "$d/ns/net" 2>/dev/null)
    # Another network namespace is another node.
    if [ -n "$theirs" ] && [ "$theirs" != "$mine" ]; then continue; fi
    all="$all${d#/proc/} "
  done
  for pid in $all; do
    parent=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null)
    case $all in *" $parent "*) continue ;; esac
    part process "$pid"
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null
    part unit "$pid"
    sed -n 's|.*/\([^/]*\.service\)$|\1|p' "/proc/$pid/cgroup" 2>/dev/null
    ask "$pid"
  done
}

case $what in
  addresses) addresses ;;
  daemon)
    addresses
    part host
    uname -n
    id -u
    daemons
    part installed
    keepalived -v 2>&1
    part listening
    grep -h ' 0A ' /proc/net/tcp /proc/net/tcp6 2>/dev/null
    ;;
  files)
    IFS=
    for pattern; do
      for file in $pattern; do
        [ -e "$file" ] || { part missing "$file"; continue; }
        part file "$file"
        cat "$file" 2>&1 || part unreadable "$file"
      done
    done
    ;;
  state)
    for file; do
      if [ ! -e "$file" ]; then part missing "$file"; continue; fi
      part state "$file"
      if [ -w "$file" ]; then echo writable; else stat -L -c '%U:%G mode %a' "$file"; fi
      head -c 64 "$file" 2>/dev/null
    done
    ;;
esac
part end
