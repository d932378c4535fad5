from tvae_lib.experiments.command import main

if __name__ == "__main__":  # not when a process of `stacked` imports this again
    main()
