# made by 'banger __complete-bash', do not edit
# shellcheck shell=bash disable=SC2207 # words, never file names with blanks
_banger_names() {
	banger __names "$1" 2>/dev/null
}

_banger() {
	local cur prev first='' second='' word flags='' names='' dirs='' words i
	COMPREPLY=()
	cur=${COMP_WORDS[COMP_CWORD]}
	prev=${COMP_WORDS[COMP_CWORD - 1]}
	words='validate diff apply watch unwatch history rollback events ps show why create set start stop restart kill delete prune ssh exec run logs stats ports health cp ssh-config workspace image op daemon ping doctor resources adopt gc version help vm '
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		[[ $word == -* ]] && continue
		if [[ -z $first ]]; then
			first=$word
		elif [[ -z $second ]]; then
			second=$word
		fi
	done
	case $prev in
	--file) COMPREPLY=($(compgen -f -- "$cur")) ;;
	--out) COMPREPLY=($(compgen -f -- "$cur")) ;;
	--plan) COMPREPLY=($(compgen -f -- "$cur")) ;;
	--timeout) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--limit) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--since) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--tail) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--image) COMPREPLY=($(compgen -W "$(_banger_names image)" -- "$cur")) ;;
	--kernel) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--kernel-args) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--vcpus) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--memory) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--memory-max) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--system-disk) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--work-disk) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--restart) COMPREPLY=($(compgen -W "always on-failure never" -- "$cur")) ;;
	--ready) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--hypervisor) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--network) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--ttl) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--port) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--set) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--signal) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--name) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--branch) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--from) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--mode) COMPREPLY=($(compgen -W "shallow full metadata" -- "$cur")) ;;
	--base-commit) COMPREPLY=($(compgen -W "" -- "$cur")) ;;
	--output) COMPREPLY=($(compgen -W "table wide json yaml name" -- "$cur")) ;;
	esac
	case $prev in --* | -f | -o) [[ ${#COMPREPLY[@]} -gt 0 ]] && return ;; esac
	case $prev in
	-f) [[ $first != logs ]] && COMPREPLY=($(compgen -f -- "$cur")) && return ;;
	-o) COMPREPLY=($(compgen -W 'table wide json yaml name' -- "$cur")) && return ;;
	esac
	case $first in
	'') names=$words ;;
	vm) [[ -z $second ]] && names='ps show why create set start stop restart kill delete prune ssh exec run logs stats ports health cp ssh-config workspace ping ' ;;
	image) [[ -z $second ]] && names='pull list show delete ' ;;
	op) [[ -z $second ]] && names='list show wait ' ;;
	daemon) [[ -z $second ]] && names='start stop status ' ;;
	esac
	if [[ -n $first && -z $names ]]; then
	case $first in
	vm | image | op | daemon) word="$first $second" ;;
	*) word=$first ;;
	esac
	case $word in
	'validate') flags='--file -f ' names="" ;;
	'diff') flags='--file -f --prune --prune-all --adopt --take-over --allow-data-loss --restart --no-restart --update-images --out ' names="" ;;
	'apply') flags='--file -f --yes -y --prune --prune-all --adopt --take-over --allow-data-loss --restart --no-restart --update-images --rollback --plan --no-wait --timeout ' names="" ;;
	'watch') flags='--list -l --take-over ' names="" dirs=1 ;;
	'unwatch') flags='' names="" dirs=1 ;;
	'history show') flags='' names="" ;;
	'history') flags='--limit ' names="$(_banger_names vm)" ;;
	'rollback') flags='--yes -y --prune --prune-all --adopt --allow-data-loss --no-wait --timeout ' names="" ;;
	'events') flags='--follow -f --since --tail ' names="$(_banger_names vm)" ;;
	'list' | 'vm ps' | 'ps') flags='' names="$(_banger_names vm)" ;;
	'vm show' | 'show') flags='' names="$(_banger_names vm)" ;;
	'vm why' | 'why') flags='' names="$(_banger_names vm)" ;;
	'vm create' | 'create') flags='--image --kernel --kernel-args --vcpus --memory --memory-max --system-disk --work-disk --nat --restart --ready --hypervisor --network --ttl --protect --port -p --set --no-start --no-wait --timeout ' names="" ;;
	'vm set' | 'set') flags='--image --kernel --kernel-args --vcpus --memory --memory-max --system-disk --work-disk --nat --restart --ready --hypervisor --network --ttl --protect --port -p --set --yes -y --allow-data-loss --no-wait --timeout ' names="$(_banger_names vm)" ;;
	'vm start' | 'start') flags='--no-wait --timeout ' names="$(_banger_names vm)" ;;
	'vm stop' | 'stop') flags='--no-wait --timeout ' names="$(_banger_names vm)" ;;
	'vm restart' | 'restart') flags='--no-wait --timeout ' names="$(_banger_names vm)" ;;
	'vm kill' | 'kill') flags='--signal -s --no-wait --timeout ' names="$(_banger_names vm)" ;;
	'rm' | 'vm delete' | 'delete') flags='--file -f --yes -y --no-wait --timeout ' names="$(_banger_names vm)" ;;
	'vm prune' | 'prune') flags='--yes -y --no-wait --timeout ' names="" ;;
	'vm ssh' | 'ssh') flags='--tty -t --timeout ' names="$(_banger_names vm)" ;;
	'vm exec' | 'exec') flags='--auto-prepare --agent --tty -t --timeout ' names="$(_banger_names vm)" ;;
	'vm run' | 'run') flags='--rm --name --branch --from --mode --include-untracked --dry-run --agent --tty -t --image --kernel --kernel-args --vcpus --memory --memory-max --system-disk --work-disk --nat --restart --ready --hypervisor --network --ttl --protect --port -p --set ' names="" dirs=1 ;;
	'vm logs' | 'logs') flags='--follow -f --tail -n --raw ' names="$(_banger_names vm)" ;;
	'vm stats' | 'stats') flags='--watch -w ' names="$(_banger_names vm)" ;;
	'vm ports' | 'ports') flags='' names="$(_banger_names vm)" ;;
	'vm health' | 'health') flags='' names="$(_banger_names vm)" ;;
	'vm cp' | 'cp') flags='' names="" ;;
	'vm ssh-config' | 'ssh-config') flags='--install --uninstall ' names="" ;;
	'vm workspace prepare' | 'workspace prepare') flags='--branch --from --mode --include-untracked --dry-run --force ' names="$(_banger_names vm)" ;;
	'vm workspace export' | 'workspace export') flags='--base-commit --file -o --force ' names="$(_banger_names vm)" ;;
	'vm workspace diff' | 'workspace diff') flags='' names="$(_banger_names vm)" ;;
	'image pull') flags='--force --no-wait --timeout ' names="$(_banger_names image)" ;;
	'image ls' | 'image list') flags='' names="" ;;
	'image show') flags='' names="$(_banger_names image)" ;;
	'image rm' | 'image delete') flags='' names="$(_banger_names image)" ;;
	'op ls' | 'op list') flags='' names="" ;;
	'op show') flags='' names="" ;;
	'op wait') flags='--timeout ' names="" ;;
	'daemon start') flags='' names="" ;;
	'daemon stop') flags='--vms --timeout ' names="" ;;
	'daemon status') flags='' names="" ;;
	'vm ping' | 'ping') flags='' names="$(_banger_names vm)" ;;
	'doctor') flags='--fix ' names="" ;;
	'resources') flags='--orphans ' names="" ;;
	'adopt') flags='--take --name --image ' names="" ;;
	'gc') flags='--dry-run --yes -y ' names="" ;;
	'version') flags='' names="" ;;
	'help') flags='' names="$words" ;;
	esac
	fi
	if [[ $cur == -* ]]; then
		names="$flags --output -o --no-color --quiet -q --verbose -v --system --help -h "
	elif [[ -n $dirs ]]; then
		COMPREPLY=($(compgen -d -- "$cur"))
		return
	fi
	COMPREPLY=($(compgen -W "$names" -- "$cur"))
}
complete -o bashdefault -F _banger banger
