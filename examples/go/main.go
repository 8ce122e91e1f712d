// Argon from Go: a project, a branch that diverges, and what happened on it.
//
//	./generate.sh ../../proto && go run . [HOST:PORT]
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	pb "argon.example/branchpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const project = "example-go"

// a service that stops drops calls (docs/errors.md); this one is sent again, because it has a request_id
const retry = `{"methodConfig": [{
	"name": [{"service": "argon.branch.v1.Documents", "method": "UpdateMany"}],
	"waitForReady": true,
	"retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]}
}]}`

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func json(text string) *pb.Document { return &pb.Document{Json: text} }

func on(branch string) *pb.Target {
	return &pb.Target{Project: project, Branch: branch, Collection: "items"}
}

func show(ctx context.Context, documents pb.DocumentsClient, branch string) {
	fmt.Printf("items on %s:\n", branch)
	found, err := documents.Find(ctx, &pb.FindRequest{Target: on(branch), Format: pb.Format_FORMAT_RELAXED_JSON})
	check(err)
	for {
		page, err := found.Recv()
		if err == io.EOF {
			return
		}
		check(err)
		for _, document := range page.Documents {
			fmt.Println(" ", document.Json)
		}
	}
}

func main() {
	endpoint := os.Getenv("ARGON_ENDPOINT")
	if len(os.Args) > 1 {
		endpoint = os.Args[1]
	}
	if endpoint == "" {
		endpoint = "127.0.0.1:7800"
	}
	connection, err := grpc.Dial(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(retry))
	check(err)
	projects, branches := pb.NewProjectsClient(connection), pb.NewBranchesClient(connection)
	documents := pb.NewDocumentsClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	if _, err := projects.DeleteProject(ctx, &pb.DeleteProjectRequest{Name: project}); status.Code(err) != codes.NotFound {
		check(err)
	}
	_, err = projects.CreateProject(ctx, &pb.CreateProjectRequest{Name: project})
	check(err)
	_, err = documents.InsertMany(ctx, &pb.InsertManyRequest{
		Target:    on("main"),
		Documents: []*pb.Document{json(`{"_id": "tea", "price": 3}`), json(`{"_id": "cup", "price": 5}`)},
	})
	check(err)

	// a branch costs one small record, however much there is
	created, err := branches.CreateBranch(ctx, &pb.CreateBranchRequest{Project: project, Name: "sale"})
	check(err)

	// repeated with the same request_id, on any replica, it has one effect: gRPC sends it again by `retry`
	updated, err := documents.UpdateMany(ctx, &pb.UpdateRequest{
		Target: on("sale"),
		Filter: json(`{}`),
		Update: json(`{"$inc": {"price": -1}}`),
		Write:  &pb.WriteOptions{RequestId: fmt.Sprint("sale-", time.Now().UnixNano()), SinceLsn: created.Lsn, Actor: "example"},
	})
	check(err)
	fmt.Println(updated.Modified, "items are cheaper on sale")
	show(ctx, documents, "main")
	show(ctx, documents, "sale")

	// what has changed on the branch since it was made
	watch, err := branches.Watch(ctx, &pb.WatchRequest{
		Project: project, Branch: "sale", AfterLsn: created.Branch.BaseLsn, StopAtHead: true, Format: pb.Format_FORMAT_RELAXED_JSON,
	})
	check(err)
	fmt.Println("changes on sale:")
	for {
		message, err := watch.Recv()
		if err == io.EOF {
			return
		}
		check(err)
		for _, change := range message.Changes {
			fmt.Printf("  LSN %d by %s: %s\n", change.Lsn, change.Actor, change.GetDocument().GetJson())
		}
	}
}
