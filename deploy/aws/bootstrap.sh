#!/usr/bin/env bash
# From a release artefact to a running release; again and again with the same result. User-data calls it on a new
# instance, `python -m deploy.aws` for another release. As root:
#
#   bootstrap.sh install ARCHIVE      a path, or s3://…; goes back to the earlier release if it does not come up
#   bootstrap.sh rollback [VERSION]   to the release before this one, or to VERSION; data stays where it is
#   bootstrap.sh releases             what is installed, the current one marked
#
# SHOPLAKE_ROOT is put before every path (tests); without a systemd that runs nothing is started.
set -euo pipefail

root=${SHOPLAKE_ROOT:-}
home=$root/opt/shoplake
releases=$home/releases
facts=$root/etc/shoplake/shoplake.env
data=$root/var/lib/shoplake
units=$root/etc/systemd/system
kept=3
# The data disk outlives machines and knows its owner by number: outside of what a distribution gives by itself.
number=8420
export XDG_CACHE_HOME=$root/var/cache/shoplake TZ=UTC

say() { echo "bootstrap: $*"; }
fail() { say "$*" >&2; exit 1; }
# Of one that is there twice the last holds, as for systemd.
fact() { [ -f "$facts" ] && sed -n "s/^$1=//p" "$facts" | tail -n1 || true; }
has_systemd() { [ -d "$root/run/systemd/system" ] && command -v systemctl >/dev/null; }
is_executor() { [ "$(fact SHOPLAKE_ROLE)" = executor ]; }
# Executors of the old instance try its address for eleven minutes before they ask for the new one.
has_executors() { [ "$(fact SHOPLAKE_EXECUTORS)" -gt 0 ] 2>/dev/null; }
patience=${SHOPLAKE_PATIENCE:-$(has_executors && echo 1200 || echo 420)}
current() { [ -L "$home/current" ] && basename "$(readlink "$home/current")" || true; }

packages() {
  [ -z "$root" ] || return 0
  if command -v dnf >/dev/null; then
    dnf -q -y install python3.11 python3.11-pip java-17-amazon-corretto-headless tar gzip xfsprogs amazon-cloudwatch-agent
  elif command -v apt-get >/dev/null; then
    command -v java >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null && return 0
    DEBIAN_FRONTEND=noninteractive apt-get -q -y install python3 python3-venv openjdk-17-jre-headless xfsprogs curl
  else
    fail "neither dnf nor apt-get is here: install Python 3.11 and Java 17, and run this again."
  fi
}

user() {
  [ -z "$root" ] || return 0
  id shoplake >/dev/null 2>&1 && return 0
  local options=(--system --user-group --home-dir /var/lib/shoplake --shell /usr/sbin/nologin)
  getent passwd "$number" >/dev/null || getent group "$number" >/dev/null || options+=(--uid "$number")
  useradd "${options[@]}" shoplake
}

# Only where the number was taken, on this machine or on the one before, is there anything to mend.
own() {
  [ -z "$root" ] || return 0
  find "$data" -xdev \( ! -user shoplake -o ! -group shoplake \) -exec chown -h shoplake:shoplake {} +
}

# The data disk of this installation: attached, formatted the first time only, mounted, and so at every boot.
disk() {
  local volume device token instance
  volume=$(fact SHOPLAKE_DATA_DISK)
  install -d -m 750 "$data"
  [ -z "$root" ] && [ -n "$volume" ] || return 0
  mountpoint -q "$data" && return 0
  device=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${volume/-/}
  if [ ! -e "$device" ]; then
    token=$(curl -sSf -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 300" http://169.254.169.254/latest/api/token)
    instance=$(curl -sSf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id)
    # The instance before this one may still be letting go of it.
    for _ in $(seq 60); do
      aws ec2 attach-volume --volume-id "$volume" --instance-id "$instance" --device /dev/sdf >/dev/null && break
      sleep 10
    done
    for _ in $(seq 60); do [ -e "$device" ] && break; sleep 2; done
  fi
  [ -e "$device" ] || fail "the data disk $volume does not appear."
  blkid "$device" >/dev/null || mkfs.xfs -q "$device"
  grep -q "^$device " /etc/fstab || echo "$device /var/lib/shoplake xfs defaults,nofail,x-systemd.device-timeout=60 0 2" >>/etc/fstab
  mount /var/lib/shoplake
}

# The agent that sends logs to CloudWatch; before the packages of the release, so that it is heard of when they fail.
send_logs() {
  [ -z "$root" ] && command -v amazon-cloudwatch-agent-ctl >/dev/null || return 0
  install -d -m 755 /etc/shoplake
  tar -xzOf "$1" "shoplake-$2/deploy/aws/cloudwatch-agent.json" |
    sed "s|@NAME@|$(fact SHOPLAKE_NAME)|" >/etc/shoplake/cloudwatch-agent.json
  amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c file:/etc/shoplake/cloudwatch-agent.json >/dev/null
}

# Unpack beside what runs, install the locked packages and the JVM parts; whole only when `.complete` is there.
unpack() {
  local archive=$1 version=$2 target=$releases/$2 python
  if [ -f "$target/.complete" ]; then
    say "$version is installed already."
    return 0
  fi
  rm -rf "$target"
  install -d -m 755 "$releases" "$XDG_CACHE_HOME" "$target"
  tar -xzf "$archive" -C "$target" --strip-components=1 --no-same-owner
  python=$(command -v python3.11 || command -v python3)
  (
    umask 022
    cd "$target" &&
      PYTHON=$python "$python" requirements/install.py venv runtime.txt &&
      .venv/bin/python -m lakehouse.services.jars &&
      { [ "$(fact SHOPLAKE_WITH_SUPERSET)" != true ] || \
        .venv/bin/python requirements/install.py tool .venv-superset superset/requirements.txt; }
  ) || fail "$version cannot be installed; what runs goes on."
  touch "$target/.complete"
}

install_units() {
  local target=$releases/$1
  install -d -m 755 "$units"
  install -m 644 "$target"/deploy/aws/units/* "$units/"
  install -d -m 755 "$root/usr/local/bin"
  cat >"$root/usr/local/bin/shoplake" <<'END'
#!/bin/sh
# The command line of the release that runs, with this installation's settings; as root.
set -a; . /etc/shoplake/shoplake.env; set +a
cd /opt/shoplake/current && exec runuser -u shoplake -- env HOME=/var/lib/shoplake XDG_CACHE_HOME=/var/cache/shoplake \
  .venv/bin/python -m deploy.aws.start "$@"
END
  chmod 755 "$root/usr/local/bin/shoplake"
  # Where sudo looks on every distribution.
  install -d -m 755 "$root/usr/bin"
  ln -sfn /usr/local/bin/shoplake "$root/usr/bin/shoplake"
  [ -z "$root" ] || return 0
  install -d -m 750 -o shoplake -g shoplake /var/lib/shoplake/lake
}

# One step: whoever looks sees the old release or the new one.
point() { ln -sfn "releases/$1" "$home/.next" && mv -T "$home/.next" "$home/current"; }

# An executor is well when it runs: it waits for the instance, and joins it then.
is_well() {
  systemctl is-active -q shoplake || return 1
  is_executor || curl -sf -o /dev/null -m 5 "http://127.0.0.1:8000/readyz"
}

restart() {
  has_systemd || { say "no systemd runs here: nothing is started."; return 0; }
  systemctl daemon-reload
  systemctl enable -q shoplake.service
  systemctl restart shoplake.service || return 1
  if ! is_executor; then
    systemctl enable -q shoplake-metrics.timer
    systemctl start shoplake-metrics.timer || return 1
  fi
  local end=$((SECONDS + patience))
  until is_well; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 3
  done
}

switch() {
  local version=$1 before
  before=$(current)
  install_units "$version"
  point "$version"
  if restart; then
    [ "$before" = "$version" ] || [ -z "$before" ] || echo "$before" >"$home/previous"
    say "$version runs."
    return 0
  fi
  if [ -z "$before" ] || [ "$before" = "$version" ]; then
    fail "$version does not come up within $patience s: journalctl -u shoplake, and $data/lake/logs."
  fi
  say "$version does not come up within $patience s; back to $before."
  install_units "$before"
  point "$before"
  restart || fail "$before does not come up either: journalctl -u shoplake."
  fail "$version did not come up, $before runs again."
}

# The newest ones, and always what runs and what ran before.
tidy() {
  local version
  find "$releases" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %f\n' | sort -rn | tail -n +$((kept + 1)) | cut -d' ' -f2 |
    while read -r version; do
      [ "$version" = "$(current)" ] || [ "$version" = "$(cat "$home/previous" 2>/dev/null)" ] || rm -rf "${releases:?}/$version"
    done
}

install_release() {
  local archive=$1 version
  packages
  user
  disk
  own
  if [[ $archive == s3://* ]]; then
    install -d -m 755 "$home"
    aws s3 cp --only-show-errors "$archive" "$home/incoming.tar.gz"
    archive=$home/incoming.tar.gz
  fi
  [ -f "$archive" ] || fail "there is no file $archive."
  version=$(tar -tzf "$archive" 2>/dev/null | sed -n '1s|^shoplake-\([^/]*\)/.*|\1|p' || true)
  [ -n "$version" ] || fail "$archive is not a release of Shoplake."
  send_logs "$archive" "$version"
  unpack "$archive" "$version"
  rm -f "$home/incoming.tar.gz"
  switch "$version"
  tidy
}

rollback() {
  local version=${1:-$(cat "$home/previous" 2>/dev/null || true)}
  [ -n "$version" ] || fail "there is no release before this one."
  [ -f "$releases/$version/.complete" ] || fail "$version is not installed here; installed are: $(ls "$releases" | tr '\n' ' ')"
  switch "$version"
}

show() {
  local version
  for version in $(ls -t "$releases"); do
    [ "$version" = "$(current)" ] && echo "* $version" || echo "  $version"
  done
}

case ${1:-} in
  install) [ $# -eq 2 ] || fail "install needs the archive of a release."; install_release "$2" ;;
  rollback) rollback "${2:-}" ;;
  releases) show ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
