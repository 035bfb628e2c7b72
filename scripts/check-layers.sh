#!/bin/sh
# scripts/check-layers.sh - every #include "layer/x.h" must be allowed by scripts/layers.txt.
set -eu
cd "$(dirname "$0")/.."
bad=0
layers=$(sed -n 's/^\([a-z]*\):.*/\1/p' scripts/layers.txt)
for layer in $layers; do
	case "$layer" in
	schema | agent) folder=$layer ;;
	*) folder=reconciler/$layer ;;
	esac
	allowed=" $layer $(sed -n "s/^$layer://p" scripts/layers.txt) "
	for file in "$folder"/*.[ch]; do
		[ -e "$file" ] || continue
		for used in $(sed -n 's/^#include "\([a-z]*\)\/.*/\1/p' "$file" | sort -u); do
			case "$allowed" in
			*" $used "*) ;;
			*)
				echo "$file: layer '$layer' may not use '$used' (scripts/layers.txt)" >&2
				bad=1
				;;
			esac
		done
	done
done
for folder in reconciler/*/; do
	name=$(basename "$folder")
	case " $(echo $layers) " in
	*" $name "*) ;;
	*)
		echo "reconciler/$name is in no line of scripts/layers.txt" >&2
		bad=1
		;;
	esac
done
[ $bad = 1 ] || echo "layers hold"
exit $bad
