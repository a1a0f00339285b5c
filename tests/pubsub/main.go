// Google's in-memory Pub/Sub, at PLAIN as an emulator and at SECURE over TLS, where a token has to
// be signed by the service account's key. HTTP makes a topic (PUT) and shows what it has (GET).
// Topics named after a status are refused with it.
//
//	pubsub PLAIN SECURE HTTP CERTIFICATE KEY ACCOUNT
package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/pstest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const audience = "https://pubsub.googleapis.com/"

var (
	server    = pstest.NewServer()
	mutex     sync.Mutex
	published = map[string][]string{}
	refused   = map[string]codes.Code{
		"forbidden": codes.PermissionDenied,
		"throttled": codes.ResourceExhausted,
		"away":      codes.Unavailable,
	}
)

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func main() {
	account, err := os.ReadFile(os.Args[6])
	must(err)
	block, _ := pem.Decode(account)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	must(err)
	secure, err := credentials.NewServerTLSFromFile(os.Args[4], os.Args[5])
	must(err)
	serve(os.Args[1], grpc.UnaryInterceptor(publish(nil)))
	serve(os.Args[2], grpc.UnaryInterceptor(publish(key.(*rsa.PublicKey))), grpc.Creds(secure))
	http.HandleFunc("/", topic)
	must(http.ListenAndServe(os.Args[3], nil))
}

func serve(address string, options ...grpc.ServerOption) {
	listener, err := net.Listen("tcp", address)
	must(err)
	one := grpc.NewServer(append(options, grpc.MaxRecvMsgSize(10<<20))...)
	pubsubpb.RegisterPublisherServer(one, &server.GServer)
	go one.Serve(listener)
}

func publish(key *rsa.PublicKey) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request interface{}, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (interface{}, error) {
		given, _ := metadata.FromIncomingContext(ctx)
		if why := wrong(key, given.Get("authorization")); why != "" {
			return nil, status.Error(codes.Unauthenticated, why)
		}
		name := request.(*pubsubpb.PublishRequest).Topic
		if code, found := refused[name[strings.LastIndex(name, "/")+1:]]; found {
			return nil, status.Error(code, "as the topic says")
		}
		response, err := next(ctx, request)
		if err == nil {
			mutex.Lock()
			defer mutex.Unlock()
			published[name] = append(published[name], response.(*pubsubpb.PublishResponse).MessageIds...)
		}
		return response, err
	}
}

// wrong says what is wrong with a token; an emulator has no key, and is shown none.
func wrong(key *rsa.PublicKey, given []string) string {
	if key == nil && len(given) == 0 {
		return ""
	}
	if key == nil || len(given) != 1 {
		return fmt.Sprintf("%d tokens", len(given))
	}
	parts := strings.Split(strings.TrimPrefix(given[0], "Bearer "), ".")
	if len(parts) != 3 {
		return "not a token"
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], signature) != nil {
		return "a token that another key signed"
	}
	var claims struct {
		Iss, Sub, Aud string
		Exp           int64
	}
	body, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if json.Unmarshal(body, &claims) != nil || claims.Iss == "" || claims.Sub != claims.Iss {
		return "a token without claims"
	}
	if left := claims.Exp - time.Now().Unix(); claims.Aud != audience || left < 0 || left > 3600 {
		return "a token for others, or too old"
	}
	return ""
}

func topic(answer http.ResponseWriter, request *http.Request) {
	name := strings.TrimPrefix(request.URL.Path, "/")
	if request.Method == http.MethodPut {
		_, err := server.GServer.CreateTopic(context.Background(), &pubsubpb.Topic{Name: name})
		must(err)
	}
	mutex.Lock()
	defer mutex.Unlock()
	found := []*pstest.Message{}
	for _, id := range published[name] {
		found = append(found, server.Message(id))
	}
	must(json.NewEncoder(answer).Encode(found))
}
