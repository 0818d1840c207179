#!/usr/bin/env bash
# A real systemd node without a virtual machine: systemd-nspawn on an overlay of one debootstrap, with sshd on a port of loopback.
#   systemd-node.sh base                      makes the base image, once (a minute; needs root and the package archive)
#   systemd-node.sh up DIR PORT PUBLIC_KEY    boots a node whose files lie in DIR; returns when systemd and sshd are up
#   systemd-node.sh run DIR COMMAND…          runs a command inside
#   systemd-node.sh files DIR                 lists the node's files, sorted, without what changes by itself
#   systemd-node.sh down DIR                  ends it and takes its mounts away
# LBDECK_NODE_BASE says where the base image is.
set -euo pipefail
base=${LBDECK_NODE_BASE:-/var/tmp/lbdeck-node-base}
groups=(/sys/fs/cgroup/systemd /sys/fs/cgroup/unified)
[ -d "${groups[0]}" ] || groups=(/sys/fs/cgroup)

init_of() { pgrep -P "$(cat "$1/pid")" | head -n 1; }

case $1 in
base)
  [ -e "$base/complete" ] && exit 0
  rm -rf "$base"
  site=$(apt-get indextargets --format '$(SITE)' | head -n 1)
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,openssh-server,procps,sudo "$suite" "$base" "$site" >"$base.log" 2>&1 ||
    { tail -n 5 "$base.log" >&2; exit 1; }
  touch "$base/complete"
  ;;
up)
  dir=$2 port=$3 key=$4 name=lbdeck-$$
  mkdir -p "$dir"/{upper,work,root}
  mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
  mkdir -p -m 700 "$dir/root/root/.ssh"
  install -m 600 "$key" "$dir/root/root/.ssh/authorized_keys"
  printf 'Port %s\nListenAddress 127.0.0.1\nPermitRootLogin yes\n' "$port" >"$dir/root/etc/ssh/sshd_config.d/test.conf"
  echo "$name" >"$dir/root/etc/hostname"
  echo "$name" >"$dir/name"
  for group in "${groups[@]}"; do mkdir -p "$group/$name"; done
  (
    for group in "${groups[@]}"; do echo $BASHPID >"$group/$name/cgroup.procs"; done
    exec setsid systemd-nspawn -q --register=no --keep-unit --machine="$name" -D "$dir/root" -b --console=pipe </dev/null >"$dir/console.log" 2>&1
  ) &
  echo $! >"$dir/pid"
  for _ in $(seq 600); do
    init=$(init_of "$dir" || :)
    if [ -n "$init" ] && nsenter -t "$init" -m -p -u -i systemctl is-active ssh 2>/dev/null | grep -qx active; then
      cat "$dir/root/etc/ssh/ssh_host_ed25519_key.pub"
      exit 0
    fi
    [ -d "/proc/$(cat "$dir/pid")" ] || break
    sleep 0.1
  done
  tail -n 20 "$dir/console.log" >&2
  exit 1
  ;;
run)
  dir=$2
  shift 2
  nsenter -t "$(init_of "$dir")" -m -p -u -i "$@"
  ;;
files)
  # Journals, machine ids, caches and what lives in memory change whoever does what.
  nsenter -t "$(init_of "$2")" -m -p -u -i find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp \
    -o -path /var/log -o -path /var/cache -o -path /var/lib/systemd -o -path '/etc/*-' \) -prune -o -print | sort
  ;;
down)
  dir=$2
  pid=$(cat "$dir/pid" 2>/dev/null || :)
  if [ -n "$pid" ] && [ -d "/proc/$pid" ]; then
    kill -TERM "$pid" 2>/dev/null || :
    for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || :
  fi
  umount "$dir/root" 2>/dev/null || umount -l "$dir/root" 2>/dev/null || :
  for group in "${groups[@]}"; do
    [ -f "$dir/name" ] && find "$group/$(cat "$dir/name")" -depth -type d -exec rmdir {} + 2>/dev/null || :
  done
  ;;
esac
