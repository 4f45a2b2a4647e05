package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// reasonOf is --reason, which every change needs. It is asked for before anybody else is.
func reasonOf(cmd *cobra.Command) (string, error) {
	reason, _ := cmd.Flags().GetString("reason")
	if strings.TrimSpace(reason) == "" {
		return "", usage("%s needs --reason", cmd.Name())
	}
	return reason, nil
}

// operator is who acts, by --operator. With a token the API knows who it is.
func operator(cmd *cobra.Command, api *apiClient) string {
	who, _ := cmd.Flags().GetString("operator")
	if who == "" && api.token == "" {
		who = actor()
	}
	return who
}

// reasoned adds to the body of a change why it is made, and who makes it.
func reasoned(cmd *cobra.Command, api *apiClient, reason string, body map[string]any) {
	body["reason"] = reason
	if who := operator(cmd, api); who != "" {
		body["by"] = who
	}
}
