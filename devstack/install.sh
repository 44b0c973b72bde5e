#!/usr/bin/env bash
# Installs the Debian packages that the tests and the local Supabase run as real servers, where they are not there already.
# Arguments name further tools, each in a package of its name: devstack/install.sh wrk
set -euo pipefail

missing=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
if [ ${#missing[@]} -gt 0 ]; then
  missing+=(postgresql-postgis) # follows the default PostgreSQL, as the package before it does
elif ! compgen -G '/usr/share/postgresql/*/extension/postgis.control' >/dev/null; then
  major=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1 | cut -d/ -f5)
  missing+=("postgresql-$major-postgis-3") # PostGIS is packaged for each PostgreSQL by itself
fi
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v wrk >/dev/null || missing+=(wrk)
command -v redis-server >/dev/null || command -v valkey-server >/dev/null || missing+=(redis-server)
command -v promtool >/dev/null || missing+=(prometheus) # for its promtool, which checks what ops/ holds
compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing+=(libfaketime) # for the tests on other days
for tool in "$@"; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done

[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "install ${missing[*]} yourself: there is no apt-get here" >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
    echo "run as root, or with sudo: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "installing ${missing[*]} ..."
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null

# The tests run servers of their own: those that Debian has started are stopped again.
if [ -d /run/systemd/system ]; then
  for service in prometheus redis-server; do
    if [[ " ${missing[*]} " == *" $service "* ]]; then
      "${as_root[@]}" systemctl disable --quiet --now "$service"
    fi
  done
fi
